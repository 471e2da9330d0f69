#include "models/export/gguf_model.h"

#include <ATen/TensorOperators.h>
#include <fmt/format.h>

#include <memory>
#include <string_view>
#include <system_error>

#include "models/errors.h"
#include "models/export/gguf_facts.h"
#include "models/export/gguf_tokenizer.h"
#include "models/export/hf_config.h"
#include "models/families/decoder_modules.h"
#include "models/io/gguf.h"
#include "models/io/gguf_config.h"
#include "models/io/gguf_rope.h"
#include "models/io/gguf_writer.h"
#include "models/io/hub_cache.h"
#include "models/io/name_map.h"
#include "models/quant/block_formats.h"

namespace leash {
namespace {

// llama.cpp's general.file_type.
int64_t file_type(BlockType type) {
  constexpr int64_t kAllF32 = 0, kMostlyF16 = 1, kMostlyQ8 = 7, kMostlyBf16 = 32;
  switch (type) {
    case BlockType::f16:
      return kMostlyF16;
    case BlockType::q8_0:
      return kMostlyQ8;
    case BlockType::bf16:
      return kMostlyBf16;
    default:
      return kAllF32;
  }
}

BlockType type_of(const ModuleInfo& module, const std::vector<int64_t>& shape, BlockType wanted) {
  const bool plain = module.kind == ModuleKind::norm || module.role == ModuleRole::positions;
  if (shape.size() < 2 || plain) return BlockType::f32;
  const bool whole = shape.back() % block_format(wanted).values == 0;
  return whole ? wanted : BlockType::f16;
}

void add_tensors(const Checkpoint& checkpoint, const GgufArchitecture& architecture, BlockType type,
                 GgufWriter& writer) {
  const GgufPlaces places = gguf_places(checkpoint.config, architecture);
  for (const ModuleInfo& module : decoder_modules(checkpoint.config)) {
    for (const char* kind : {".weight", ".bias"}) {
      const std::string name = module.path + kind;
      if (!checkpoint.tensors->contains(name)) continue;
      const GgufPlace place = places.at(name);
      const std::vector<int64_t> shape = checkpoint.tensors->shape(name);
      writer.tensor(place.name, shape, type_of(module, shape, type),
                    [tensors = checkpoint.tensors, name, place] {
                      const at::Tensor values = tensors->read(name, at::kFloat);
                      return place.offset == 0 ? to_gguf_order(values, place)
                                               : values + place.offset;
                    });
    }
  }
}

// All that the base's file says but how its own tensors are kept.
void copy_metadata(const GgufFile& from, GgufWriter& writer) {
  for (const std::string& key : from.metadata_keys()) {
    const bool own = key == "general.file_type" || key == "general.quantization_version" ||
                     key == "general.alignment" || key.starts_with("split.") ||
                     key.starts_with("quantize.");
    if (!own) writer.copy(key, from);
  }
}

// Tensors of the base that stand for facts.
void copy_factors(const std::shared_ptr<const GgufFile>& base, GgufWriter& writer) {
  for (const char* name : {kRopeDivisors, kShortFactors, kLongFactors}) {
    if (!base->contains(name)) continue;
    writer.tensor(name, base->shape(name), BlockType::f32,
                  [base, name] { return base->read(name, at::kFloat); });
  }
}

std::string name_of(const std::filesystem::path& folder) {
  if (const auto repository = hub_repository(folder)) return *repository;
  std::error_code error;
  const auto whole = std::filesystem::canonical(folder, error);
  return (error ? folder : whole).filename().string();
}

void set_general(const Checkpoint& checkpoint, const GgufArchitecture& architecture,
                 GgufWriter& writer) {
  writer.string("general.architecture", architecture.name);
  writer.string("general.type", "model");
  writer.string("general.name", name_of(checkpoint.path));
}

void require_same_facts(const std::filesystem::path& written, const Checkpoint& checkpoint) {
  const DecoderConfig read = config_from_gguf(*GgufFile::open(written));
  if (const auto fact = different_fact(checkpoint.config, read)) {
    throw FormatError(fmt::format(
        "{}: a GGUF of the architecture {} does not say the model's {}", checkpoint.path.string(),
        gguf_architecture_for(checkpoint.config, checkpoint.path.string()).name, *fact));
  }
}

}  // namespace

void write_gguf_model(const std::filesystem::path& file, const Checkpoint& checkpoint,
                      BlockType type) {
  const std::string origin = checkpoint.path.string();
  if (checkpoint.config.num_labels > 0) {
    throw FormatError(origin +
                      ": a model with a score head is not written as a GGUF: export it as "
                      "hf");
  }
  const bool folder = std::filesystem::is_directory(checkpoint.path);
  const std::shared_ptr<const GgufFile> base = folder ? nullptr : GgufFile::open(checkpoint.path);
  const GgufArchitecture& architecture =
      folder ? gguf_architecture_for(checkpoint.config, origin) : architecture_of(*base);
  GgufWriter writer;
  if (folder) {
    set_general(checkpoint, architecture, writer);
    set_gguf_facts(checkpoint.config, architecture, writer);
    set_gguf_tokenizer(checkpoint.path, checkpoint.config, writer);
  } else {
    copy_metadata(*base, writer);
    copy_factors(base, writer);
  }
  writer.u32("general.file_type", file_type(type));
  writer.u32("general.quantization_version", 2);
  add_tensors(checkpoint, architecture, type, writer);
  writer.write(file);
  require_same_facts(file, checkpoint);
  if (folder) require_same_ids(checkpoint.path, file);
}

}  // namespace leash

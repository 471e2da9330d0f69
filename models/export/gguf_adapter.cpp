#include "models/export/gguf_adapter.h"

#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <cstdint>
#include <string>

#include "models/errors.h"
#include "models/io/gguf.h"
#include "models/io/gguf_config.h"
#include "models/io/gguf_writer.h"
#include "models/io/name_map.h"
#include "models/quant/block_formats.h"

namespace leash {
namespace {

[[noreturn]] void no_place(const ModuleInfo& module, const char* what) {
  throw FormatError(fmt::format(
      "llama.cpp's adapters have no place for {} of {}: export the merged model (--as gguf)", what,
      module.path));
}

void require_plain_updates(const Adapter& adapter, bool tied) {
  for (size_t i = 0; i < adapter.modules().size(); ++i) {
    const ModuleInfo& info = adapter.modules()[i];
    const auto module = static_cast<int64_t>(i);
    const bool updated = adapter.lora(module) != nullptr;
    // Beside an update a copy is the base's own weight, which PEFT stores with an adapted head.
    if (adapter.weight_copy(module) != nullptr && !updated) no_place(info, "the trained weight");
    if (adapter.bias_copy(module) != nullptr) no_place(info, "the trained bias");
    if (!updated) continue;
    if (info.kind != ModuleKind::linear) no_place(info, "the update");
    if (info.role == ModuleRole::lm_head && tied) {
      no_place(info, "an update (its weight is the embedding's)");
    }
  }
}

// alpha such that alpha / rank is the scale of the first update.
double alpha_of(const LoraWeights& update) {
  return update.scaling * static_cast<double>(update.a.size(0));
}

BlockType adapter_type(int64_t row, BlockType wanted) {
  return row % block_format(wanted).values == 0 ? wanted : BlockType::f16;
}

void add_matrix(std::string name, const at::Tensor& values, BlockType type, GgufWriter& writer) {
  writer.tensor(std::move(name), values.sizes().vec(), adapter_type(values.size(1), type),
                [values] { return values; });
}

void add_update(const LoraWeights& update, const GgufPlace& place, double alpha, BlockType type,
                GgufWriter& writer) {
  const at::Tensor a = update.a.detach().cpu().to(at::kFloat);
  at::Tensor b = update.b.detach().cpu().to(at::kFloat);
  if (const double own = alpha_of(update); own != alpha) b = b * (own / alpha);
  add_matrix(place.name + ".lora_a", a, type, writer);
  add_matrix(place.name + ".lora_b", to_gguf_order(b, place).contiguous(), type, writer);
}

const GgufArchitecture& architecture_of_base(const Checkpoint& base) {
  return std::filesystem::is_directory(base.path)
             ? gguf_architecture_for(base.config, base.path.string())
             : architecture_of(*GgufFile::open(base.path));
}

}  // namespace

void write_gguf_adapter(const std::filesystem::path& file, const Checkpoint& base,
                        const Adapter& adapter, BlockType type) {
  const c10::AutoGradMode no_grad(false);
  require_plain_updates(adapter, base.config.tie_word_embeddings);
  const GgufArchitecture& architecture = architecture_of_base(base);
  const GgufPlaces places = gguf_places(base.config, architecture);
  GgufWriter writer;
  writer.string("general.architecture", architecture.name);
  writer.string("general.type", "adapter");
  writer.string("adapter.type", "lora");
  std::optional<double> alpha;
  for (size_t i = 0; i < adapter.modules().size(); ++i) {
    const LoraWeights* update = adapter.lora(static_cast<int64_t>(i));
    if (update == nullptr) continue;
    if (!alpha) {
      alpha = alpha_of(*update);
      writer.f32("adapter.lora.alpha", *alpha);
    }
    add_update(*update, places.at(adapter.modules()[i].path + ".weight"), *alpha, type, writer);
  }
  if (!alpha) throw FormatError("the adapter has no update that llama.cpp could add");
  writer.write(file);
}

Adapter read_gguf_adapter(const std::filesystem::path& file, const Checkpoint& base,
                          const Adapter& like) {
  const auto gguf = GgufFile::open(file);
  const auto alpha = gguf->float_value("adapter.lora.alpha");
  if (gguf->string_value("adapter.type") != "lora" || !alpha) {
    gguf->fail("is no LoRA adapter of llama.cpp's");
  }
  Adapter adapter(like.config(), like.modules());
  const GgufPlaces places = gguf_places(base.config, architecture_of_base(base));
  for (size_t i = 0; i < like.modules().size(); ++i) {
    const auto found = places.find(like.modules()[i].path + ".weight");
    if (found == places.end() || !gguf->contains(found->second.name + ".lora_a")) continue;
    const at::Tensor a = gguf->read(found->second.name + ".lora_a", at::kFloat).clone();
    const at::Tensor b = gguf->read(found->second.name + ".lora_b", at::kFloat);
    adapter.set_lora(static_cast<int64_t>(i), {.a = a,
                                               .b = from_gguf_order(b, found->second).clone(),
                                               .scaling = *alpha / static_cast<double>(a.size(0))});
  }
  return adapter;
}

}  // namespace leash

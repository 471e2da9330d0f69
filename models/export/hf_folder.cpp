#include "models/export/hf_folder.h"

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>
#include <fmt/format.h>

#include <array>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <system_error>
#include <vector>

#include "models/errors.h"
#include "models/export/hf_config.h"
#include "models/export/hf_tokenizer.h"
#include "models/families/decoder_modules.h"
#include "models/io/atomic_file.h"
#include "models/io/json_file.h"
#include "models/io/mapped_file.h"
#include "models/io/safetensors.h"

namespace leash {
namespace {

namespace fs = std::filesystem;

// What transformers writes beside the weights, and older files of tokenizers.
constexpr std::array<const char*, 12> kCompanions = {"tokenizer.json",
                                                     "tokenizer_config.json",
                                                     "special_tokens_map.json",
                                                     "added_tokens.json",
                                                     "vocab.json",
                                                     "merges.txt",
                                                     "tokenizer.model",
                                                     "spiece.model",
                                                     "chat_template.jinja",
                                                     "chat_template.json",
                                                     "generation_config.json",
                                                     "vocab.txt"};

void write_json(const fs::path& file, const nlohmann::ordered_json& value) {
  write_text_file(file, value.dump(2, ' ', /*ensure_ascii=*/false,
                                   nlohmann::ordered_json::error_handler_t::replace) +
                            "\n");
}

struct OutgoingTensor {
  std::string source;  // its name here
  std::string name;    // its name in the file
  int64_t bytes = 0;
  bool transposed = false;
};

std::vector<OutgoingTensor> outgoing(const Checkpoint& checkpoint, at::ScalarType dtype) {
  std::vector<OutgoingTensor> list;
  const auto add = [&](const std::string& name, bool transposed) {
    if (!checkpoint.tensors->contains(name)) return;
    const auto shape = checkpoint.tensors->shape(name);
    const int64_t values =
        std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
    list.push_back({.source = name,
                    .name = name,
                    .bytes = values * static_cast<int64_t>(c10::elementSize(dtype)),
                    .transposed = transposed});
  };
  for (const ModuleInfo& module : decoder_modules(checkpoint.config)) {
    add(module.path + ".weight", module.transposed);
    add(module.path + ".bias", false);
  }
  if (checkpoint.config.num_labels > 0) add("score.weight", false);
  return list;
}

// Consecutive tensors, as many as fit; a larger one stands alone.
std::vector<std::vector<OutgoingTensor>> shards_of(const std::vector<OutgoingTensor>& tensors,
                                                   int64_t max_bytes) {
  std::vector<std::vector<OutgoingTensor>> shards;
  int64_t size = 0;
  for (const OutgoingTensor& tensor : tensors) {
    if (shards.empty() || size + tensor.bytes > max_bytes) {
      shards.emplace_back();
      size = 0;
    }
    shards.back().push_back(tensor);
    size += tensor.bytes;
  }
  return shards;
}

NamedTensors read_all(const TensorSource& source, const std::vector<OutgoingTensor>& shard,
                      at::ScalarType dtype) {
  NamedTensors tensors;
  for (const OutgoingTensor& tensor : shard) {
    const at::Tensor values = source.read(tensor.source, dtype);
    tensors.emplace_back(tensor.name, tensor.transposed ? values.t().contiguous() : values);
  }
  return tensors;
}

void write_weights(const fs::path& folder, const Checkpoint& checkpoint, at::ScalarType dtype,
                   int64_t max_shard_bytes) {
  const auto tensors = outgoing(checkpoint, dtype);
  const auto shards = shards_of(tensors, max_shard_bytes);
  if (shards.size() == 1) {
    write_safetensors(folder / "model.safetensors",
                      read_all(*checkpoint.tensors, shards[0], dtype));
    return;
  }
  nlohmann::ordered_json map = nlohmann::ordered_json::object();
  int64_t total = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const auto name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    write_safetensors(folder / name, read_all(*checkpoint.tensors, shards[i], dtype));
    for (const OutgoingTensor& tensor : shards[i]) {
      map[tensor.name] = name;
      total += tensor.bytes;
    }
  }
  write_json(folder / "model.safetensors.index.json",
             {{"metadata", {{"total_size", total}}}, {"weight_map", map}});
}

void copy_companions(const fs::path& from, const fs::path& to) {
  for (const char* name : kCompanions) {
    if (is_there(from / name)) fs::copy_file(from / name, to / name);
  }
  // Templates of several names.
  constexpr const char* kTemplates = "additional_chat_templates";
  if (is_there(from / kTemplates)) {
    fs::copy(from / kTemplates, to / kTemplates, fs::copy_options::recursive);
  }
}

}  // namespace

void write_hf_folder(const fs::path& folder, const Checkpoint& checkpoint, at::ScalarType dtype,
                     int64_t max_shard_bytes) {
  const auto config = hf_config(checkpoint, dtype);
  fs::create_directory(folder);
  write_json(folder / "config.json", config);
  if (fs::is_directory(checkpoint.path)) {
    copy_companions(checkpoint.path, folder);
  } else {
    write_hf_tokenizer(folder, checkpoint.path);
    write_json(folder / "generation_config.json", hf_generation_config(checkpoint.config));
  }
  write_weights(folder, checkpoint, dtype, max_shard_bytes);
}

void set_class_names(const fs::path& folder, const std::vector<std::string>& names) {
  nlohmann::ordered_json config = read_json_file(folder / "config.json");
  nlohmann::ordered_json numbers = nlohmann::ordered_json::object();
  nlohmann::ordered_json words = nlohmann::ordered_json::object();
  for (size_t i = 0; i < names.size(); ++i) {
    words[std::to_string(i)] = names[i];
    numbers[names[i]] = i;
  }
  config["id2label"] = words;
  config["label2id"] = numbers;
  write_json(folder / "config.json", config);
}

}  // namespace leash

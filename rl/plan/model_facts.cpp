#include "rl/plan/model_facts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>
#include <system_error>

#include "models/decoder/decoder_weights.h"
#include "models/decoder/load_weight.h"
#include "models/errors.h"
#include "models/families/decoder_modules.h"
#include "models/families/families.h"
#include "models/io/json_file.h"
#include "models/quant/block_formats.h"
#include "models/quant/nf4.h"
#include "models/quant/packed_rows.h"

namespace leash {
namespace {

constexpr int64_t kModulesOfBlock = 9;
constexpr int64_t kGroupsOfBlock = 6;  // four matrices, two norms

int64_t numel(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t unit) { return ceil_divide(a, unit) * unit; }

// Everything below a folder, or the file itself: what a mapped checkpoint may occupy.
int64_t mapped_bytes(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    const auto size = std::filesystem::file_size(path, error);
    return error ? 0 : static_cast<int64_t>(size);
  }
  int64_t sum = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
    if (entry.path().extension() == ".safetensors")
      sum += static_cast<int64_t>(entry.file_size(error));
  }
  return sum;
}

void expect_tensor(const ModelFacts& model, const std::string& name,
                   const std::vector<int64_t>& shape) {
  if (!model.tensors->contains(name)) {
    throw FormatError(fmt::format("{}: has no tensor {}", model.name, name));
  }
  const std::vector<int64_t> found = model.tensors->shape(name);
  if (found == shape) return;
  throw FormatError(fmt::format("{}: {} has shape [{}], but the configuration says [{}]",
                                model.name, name, fmt::join(found, ", "), fmt::join(shape, ", ")));
}

// Modules that are one product, or one tensor: what is loaded at a time.
struct Group {
  std::span<const ModuleInfo> modules;
  bool quantisable = false;
};

std::vector<Group> groups_of(const ModelFacts& model) {
  const std::span<const ModuleInfo> all = model.modules;
  std::vector<Group> groups = {{all.subspan(0, 1), false}};
  for (int64_t layer = 0; layer < model.config.num_layers; ++layer) {
    const auto block = all.subspan(static_cast<size_t>(1 + layer * kModulesOfBlock));
    groups.push_back({block.subspan(0, 3), true});  // q, k, v
    groups.push_back({block.subspan(3, 1), true});  // o
    groups.push_back({block.subspan(4, 2), true});  // gate, up
    groups.push_back({block.subspan(6, 1), true});  // down
    groups.push_back({block.subspan(7, 1), false});
    groups.push_back({block.subspan(8, 1), false});
  }
  groups.push_back({all.subspan(all.size() - 2, 1), false});
  if (model.own_head) groups.push_back({all.last(1), false});
  return groups;
}

int64_t dense_bytes(const Group& group, at::ScalarType dtype) {
  int64_t sum = 0;
  for (const ModuleInfo& module : group.modules)
    sum += numel(weight_shape(module)) * element_bytes(dtype);
  return sum;
}

int64_t bias_bytes(const Group& group, at::ScalarType dtype) {
  int64_t sum = 0;
  for (const ModuleInfo& module : group.modules) {
    if (module.has_bias) sum += numel(bias_shape(module)) * element_bytes(dtype);
  }
  return sum;
}

// Two values a byte, a byte for the scale of each 64, four for the scale of each 256 scales and for
// their mean.
int64_t nf4_bytes(int64_t count) {
  const int64_t blocks = ceil_divide(count, kNf4Block);
  return ceil_divide(count, 2) + blocks + 4 * ceil_divide(blocks, kNf4ScalesBlock) + 4;
}

// A GGUF's own blocks; dense where a part has none, or none of them saves anything.
int64_t kept_bytes(const ModelFacts& model, const Group& group, at::ScalarType dtype) {
  int64_t sum = 0;
  bool compressed = false;
  for (const ModuleInfo& module : group.modules) {
    const auto type = model.tensors->block_type(module.path + ".weight");
    if (!type) return dense_bytes(group, dtype);
    sum += block_bytes(*type, numel(weight_shape(module)));
    compressed = compressed || is_compressed(*type);
  }
  return compressed ? sum : dense_bytes(group, dtype);
}

int64_t group_bytes(const ModelFacts& model, const Group& group, at::ScalarType dtype,
                    Quantize quantize) {
  const bool norm = group.modules[0].kind == ModuleKind::norm;
  if (norm) return dense_bytes(group, norm_dtype(dtype, quantize));
  const int64_t biases = bias_bytes(group, dtype);
  if (quantize == Quantize::keep) return kept_bytes(model, group, dtype) + biases;
  if (quantize == Quantize::none || !group.quantisable) return dense_bytes(group, dtype) + biases;
  int64_t sum = biases;
  for (const ModuleInfo& module : group.modules) {
    const int64_t count = numel(weight_shape(module));
    sum += quantize == Quantize::nf4 ? nf4_bytes(count) : count + 4 * module.out_features;
  }
  return sum;
}

void check_keep(const ModelFacts& model, Quantize quantize) {
  if (quantize != Quantize::keep) return;
  if (model.tensors == nullptr) {
    throw ConfigError(fmt::format(
        "model.quantize: keep leaves a GGUF's blocks as they are, but {} is known by its "
        "configuration alone; use nf4, int8 or none",
        model.name));
  }
  const Checkpoint checkpoint{.path = model.name, .config = model.config, .tensors = model.tensors};
  if (const auto problem = keep_problem(checkpoint)) throw ConfigError(*problem);
}

}  // namespace

int64_t element_bytes(at::ScalarType dtype) {
  return static_cast<int64_t>(c10::elementSize(dtype));
}
int64_t wide_bytes(at::ScalarType dtype) { return dtype == at::kDouble ? 8 : 4; }

ModelFacts facts_of(const DecoderConfig& config, const std::string& name) {
  check(config, name);
  if (config.norm != NormKind::rms || !config.gated_mlp) {
    throw FormatError(name + ": layer normalisation and plain MLPs are not supported yet");
  }
  return {.name = name,
          .config = config,
          .modules = decoder_modules(config),
          .own_head = !config.tie_word_embeddings && config.num_labels == 0};
}

ModelFacts read_model_config(const std::filesystem::path& file) {
  return facts_of(config_from_json(read_json_file(file), file.string()), file.string());
}

ModelFacts facts_of(const Checkpoint& checkpoint) {
  ModelFacts model = facts_of(checkpoint.config, checkpoint.path.string());
  model.tensors = checkpoint.tensors;
  model.file_bytes = mapped_bytes(checkpoint.path);
  model.own_head = !model.config.tie_word_embeddings && model.tensors->contains("lm_head.weight");
  if (!model.config.tie_word_embeddings && model.config.num_labels == 0 && !model.own_head) {
    throw FormatError(model.name + ": has no tensor lm_head.weight");
  }
  for (const ModuleInfo& module : model.modules) {
    if (module.path == "lm_head" && !model.own_head) continue;
    expect_tensor(model, module.path + ".weight", weight_shape(module));
    if (module.has_bias) expect_tensor(model, module.path + ".bias", bias_shape(module));
  }
  return model;
}

int64_t num_parameters(const ModelFacts& model) {
  int64_t sum = 0;
  for (const ModuleInfo& module : model.modules) {
    if (module.path == "lm_head" && !model.own_head) continue;
    sum += numel(weight_shape(module));
    if (module.has_bias) sum += numel(bias_shape(module));
  }
  return sum;
}

int64_t weight_bytes(const ModelFacts& model, at::ScalarType dtype, Quantize quantize) {
  check_keep(model, quantize);
  int64_t sum = 0;
  for (const Group& group : groups_of(model)) sum += group_bytes(model, group, dtype, quantize);
  return sum;
}

ShardedBytes sharded_bytes(const ModelFacts& model, at::ScalarType dtype, int64_t ranks) {
  const int64_t element = element_bytes(dtype);
  ShardedBytes sharded{.num_blocks = model.config.num_layers};
  int64_t embedding = 0, block = 0, of_all = 0;  // whole units
  // As shard() in models/weights/sharded_weights.cpp: matrices and parts are multiples of 64 bytes.
  const auto add_unit = [&](std::span<const Group> matrices) {
    int64_t unit = 0;
    for (const Group& group : matrices) unit = round_up(unit, 64) + dense_bytes(group, dtype);
    const int64_t part = round_up(ceil_divide(unit / element, ranks) * element, 64);
    // Read and joined, then divided.
    sharded.loading = std::max(sharded.loading, sharded.held + 2 * unit);
    sharded.held += part;
    of_all += part * ranks;
    return part * ranks;
  };
  const std::vector<Group> groups = groups_of(model);
  embedding = add_unit(std::span(groups).first(1));
  for (int64_t layer = 0; layer < model.config.num_layers; ++layer) {
    const auto of_block =
        std::span(groups).subspan(static_cast<size_t>(1 + layer * kGroupsOfBlock));
    block = add_unit(of_block.first(4));
    for (const Group& norm : of_block.subspan(4, 2)) sharded.held += dense_bytes(norm, dtype);
    for (const Group& group : of_block.first(4)) sharded.held += bias_bytes(group, dtype);
  }
  sharded.held += dense_bytes(groups[groups.size() - (model.own_head ? 2 : 1)], dtype);
  const int64_t head = model.own_head ? add_unit(std::span(groups).last(1)) : embedding;
  if (ranks == 1) return sharded;
  sharded.all = of_all;
  sharded.in_use = std::max({embedding, head, block}) + block;
  sharded.forward = embedding + block * sharded.num_blocks;
  sharded.head = head;
  sharded.backward = block * sharded.num_blocks;
  return sharded;
}

int64_t loading_bytes(const ModelFacts& model, at::ScalarType dtype, Quantize quantize) {
  check_keep(model, quantize);
  int64_t loaded = 0;
  int64_t most = 0;
  for (const Group& group : groups_of(model)) {
    const int64_t final_bytes = group_bytes(model, group, dtype, quantize);
    // Quantising reads float32; blocks that are kept are copied as they are.
    const bool quantises = quantize != Quantize::none && group.quantisable;
    const int64_t parts = quantize == Quantize::keep
                              ? final_bytes
                              : dense_bytes(group, quantises ? at::kFloat : dtype);
    most = std::max(most, loaded + final_bytes + parts);
    loaded += final_bytes;
  }
  return most;
}

}  // namespace leash

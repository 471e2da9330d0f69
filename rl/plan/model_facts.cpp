#include "rl/plan/model_facts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>
#include <system_error>

#include "models/decoder/decoder_weights.h"
#include "models/decoder/load_weight.h"
#include "models/decoder/read_tensors.h"
#include "models/device/device.h"
#include "models/errors.h"
#include "models/families/decoder_modules.h"
#include "models/families/families.h"
#include "models/io/json_file.h"
#include "models/quant/block_formats.h"
#include "models/quant/nf4.h"
#include "models/quant/packed_rows.h"

namespace leash {

int64_t numel(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

namespace {

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

// A head may have the embedding's weight, or none (where a score head stands in for it).
bool has_weight(const ModelFacts& model, const ModuleInfo& module) {
  return module.role != ModuleRole::lm_head || model.own_head;
}
bool has_bias(const ModelFacts& model, const ModuleInfo& module) {
  if (!module.has_bias) return false;
  return module.role != ModuleRole::lm_head || model.config.num_labels == 0;
}

// Modules that are one product, or one tensor: what is loaded at a time.
struct Group {
  std::span<const ModuleInfo> modules;

  const ModuleInfo& first() const { return modules[0]; }
  bool is_norm() const { return first().kind == ModuleKind::norm; }
  // Matrices of blocks alone.
  bool quantisable() const { return first().layer >= 0 && !is_norm(); }
  // Neither quantised nor sharded.
  bool stays_whole() const { return is_norm() || first().role == ModuleRole::positions; }
};

std::vector<Group> groups_of(const ModelFacts& model) {
  const std::span<const ModuleInfo> all = model.modules;
  std::vector<Group> groups;
  for (const auto& [begin, end] : module_groups(all)) {
    const Group group{all.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin))};
    if (group.first().role == ModuleRole::lm_head && !model.own_head) continue;
    groups.push_back(group);
  }
  return groups;
}

int64_t dense_bytes(const Group& group, at::ScalarType dtype) {
  int64_t sum = 0;
  for (const ModuleInfo& module : group.modules)
    sum += numel(weight_shape(module)) * element_bytes(dtype);
  return sum;
}

// Of what is no product, in a model of `dtype`: as on a CPU, where it is wider than bfloat16. On a
// GPU these thousandths of the whole take half.
at::ScalarType rest_dtype(at::ScalarType dtype) { return activation_type(dtype, at::kCPU); }

int64_t bias_bytes(const Group& group, at::ScalarType dtype) {
  int64_t sum = 0;
  for (const ModuleInfo& module : group.modules) {
    if (module.has_bias) sum += numel(bias_shape(module)) * element_bytes(rest_dtype(dtype));
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
  if (group.is_norm()) {
    const at::ScalarType type = norm_dtype(rest_dtype(dtype), quantize);
    return dense_bytes(group, type) + bias_bytes(group, type);
  }
  if (group.stays_whole()) return dense_bytes(group, rest_dtype(dtype));
  const int64_t biases = bias_bytes(group, dtype);
  if (quantize == Quantize::keep) return kept_bytes(model, group, dtype) + biases;
  if (quantize == Quantize::none || !group.quantisable()) return dense_bytes(group, dtype) + biases;
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
  const std::string head = model.modules.back().path + ".weight";
  model.own_head = !model.config.tie_word_embeddings && model.tensors->contains(head);
  if (!model.config.tie_word_embeddings && model.config.num_labels == 0 && !model.own_head) {
    throw FormatError(model.name + ": has no tensor " + head);
  }
  for (const ModuleInfo& module : model.modules) {
    if (has_weight(model, module))
      expect_tensor(model, module.path + ".weight", weight_shape(module));
    if (has_bias(model, module)) expect_tensor(model, module.path + ".bias", bias_shape(module));
  }
  require_all_read(checkpoint);
  return model;
}

int64_t num_parameters(const ModelFacts& model) {
  int64_t sum = 0;
  for (const ModuleInfo& module : model.modules) {
    if (has_weight(model, module)) sum += numel(weight_shape(module));
    if (has_bias(model, module)) sum += numel(bias_shape(module));
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
  int64_t embedding = 0, block = 0, head = 0, of_all = 0;  // whole units
  // As shard() in models/weights/sharded_weights.cpp: matrices and parts are multiples of 64 bytes.
  const auto add_unit = [&](std::span<const Group> matrices) {
    int64_t unit = 0;
    for (const Group& group : matrices) unit = round_up(unit, 64) + dense_bytes(group, dtype);
    const int64_t part = round_up(ceil_divide(unit / element, ranks) * element, 64);
    // Read and joined, then split.
    sharded.loading = std::max(sharded.loading, sharded.held + 2 * unit);
    sharded.held += part;
    of_all += part * ranks;
    return part * ranks;
  };
  const std::vector<Group> groups = groups_of(model);
  for (auto group = groups.begin(); group != groups.end();) {
    const int64_t layer = group->first().layer;
    const auto end = std::find_if(group + 1, groups.end(), [layer](const Group& next) {
      return layer < 0 || next.first().layer != layer;
    });
    std::vector<Group> matrices;
    std::copy_if(group, end, std::back_inserter(matrices),
                 [](const Group& one) { return !one.stays_whole(); });
    if (!matrices.empty()) {
      const int64_t unit = add_unit(matrices);
      (layer >= 0 ? block : group->first().role == ModuleRole::embedding ? embedding : head) = unit;
    }
    // Norms, biases and learned positions stay whole.
    for (; group != end; ++group) {
      sharded.held += bias_bytes(*group, dtype);
      if (group->stays_whole()) sharded.held += dense_bytes(*group, rest_dtype(dtype));
    }
  }
  if (!model.own_head) head = embedding;
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
    const bool quantises = quantize != Quantize::none && group.quantisable();
    const int64_t parts = quantize == Quantize::keep
                              ? final_bytes
                              : dense_bytes(group, quantises ? at::kFloat : dtype);
    most = std::max(most, loaded + final_bytes + parts);
    loaded += final_bytes;
  }
  return most;
}

}  // namespace leash

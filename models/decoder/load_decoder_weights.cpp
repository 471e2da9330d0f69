// From a checkpoint to a decoder's frozen weights.
#include <ATen/ops/cat.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "models/decoder/base_fingerprint.h"
#include "models/decoder/decoder_weights.h"
#include "models/decoder/read_tensors.h"
#include "models/device/device.h"
#include "models/errors.h"
#include "models/families/decoder_modules.h"
#include "models/quant/byte_tiles.h"
#include "models/weights/sharded_weights.h"

namespace leash {
namespace {

// Reads checked tensors.
class Loader {
 public:
  Loader(const Checkpoint& checkpoint, const LoadOptions& options)
      : checkpoint_(checkpoint), options_(options) {}

  at::Tensor read(const std::string& name, const std::vector<int64_t>& shape) {
    expect(name, shape);
    return checkpoint_.tensors->read(name, activation_type(options_.dtype, options_.device));
  }

  // Matrices of equally many columns, one below the other.
  std::shared_ptr<const WeightSource> weight(const std::vector<std::string>& names,
                                             const std::vector<int64_t>& rows, int64_t columns,
                                             Quantize quantize) {
    for (size_t i = 0; i < names.size(); ++i) expect(names[i], {rows[i], columns});
    if (options_.fast && columns % kByteBlock == 0) {
      return load_fast_weight(*checkpoint_.tensors, names);
    }
    // Sharded weights are joined on the host: a device only ever gets this rank's part of them.
    return load_weight(*checkpoint_.tensors, names, options_.dtype, quantize,
                       options_.gathers == nullptr ? options_.device : at::kCPU);
  }

  // Embedding and lm_head: only blocks that are there anyway are kept, as bitsandbytes has it.
  std::shared_ptr<const WeightSource> vocabulary(const ModuleInfo& info) {
    const bool embeds = info.kind == ModuleKind::embedding;
    return weight({info.path + ".weight"}, {embeds ? info.in_features : info.out_features},
                  embeds ? info.out_features : info.in_features,
                  options_.quantize == Quantize::keep ? Quantize::keep : Quantize::none);
  }

  NormWeight norm(const ModuleInfo& info, int64_t module) {
    const auto vector = [&](const char* kind) {
      const std::string name = info.path + kind;
      expect(name, {info.out_features});
      const at::ScalarType dtype =
          norm_dtype(activation_type(options_.dtype, options_.device), options_.quantize);
      return checkpoint_.tensors->read(name, dtype).clone().to(options_.device);
    };
    return {.weight = vector(".weight"),
            .bias = info.has_bias ? vector(".bias") : at::Tensor(),
            .module = module};
  }

  // Dense whatever the setting says: a few rows are read, nothing is multiplied.
  std::shared_ptr<const WeightSource> positions(const ModuleInfo& info) {
    const std::string name = info.path + ".weight";
    return dense_weight(
        read(name, {info.in_features, info.out_features}).clone().to(options_.device));
  }

  // Several projections of one input as one product: modules [begin, end) of the list.
  LinearGroup linear(const std::vector<ModuleInfo>& modules, int64_t begin, int64_t end) {
    LinearGroup group;
    std::vector<std::string> names;
    std::vector<int64_t> rows;
    std::vector<at::Tensor> biases;
    for (int64_t module = begin; module < end; ++module) {
      const ModuleInfo& info = modules[module];
      names.push_back(info.path + ".weight");
      rows.push_back(info.out_features);
      if (info.has_bias) biases.push_back(read(info.path + ".bias", {info.out_features}));
      group.parts.push_back({.module = module, .num_columns = info.out_features});
    }
    group.weight = weight(names, rows, modules[begin].in_features, options_.quantize);
    if (!biases.empty()) group.bias = at::cat(biases).to(options_.device);
    return group;
  }

  int64_t num_parameters = 0;

 private:
  // That the checkpoint has a tensor, in this shape.
  void expect(const std::string& name, const std::vector<int64_t>& shape) {
    if (!checkpoint_.tensors->contains(name)) {
      throw FormatError(fmt::format("{}: has no tensor {}", checkpoint_.path.string(), name));
    }
    const std::vector<int64_t> found = checkpoint_.tensors->shape(name);
    if (found != shape) {
      throw FormatError(fmt::format("{}: {} has shape [{}], but the configuration says [{}]",
                                    checkpoint_.path.string(), name, fmt::join(found, ", "),
                                    fmt::join(shape, ", ")));
    }
    num_parameters += c10::multiply_integers(shape);
  }

  const Checkpoint& checkpoint_;
  LoadOptions options_;
};

// Where a block keeps a norm; nullptr for a role that is none.
NormWeight* norm_for(BlockWeights& block, ModuleRole role) {
  switch (role) {
    case ModuleRole::input_norm:
      return &block.input_norm;
    case ModuleRole::mlp_norm:
      return &block.mlp_norm;
    case ModuleRole::attention_post_norm:
      return &block.attention_post_norm;
    case ModuleRole::mlp_post_norm:
      return &block.mlp_post_norm;
    case ModuleRole::query_norm:
      return &block.query_norm;
    case ModuleRole::key_norm:
      return &block.key_norm;
    default:
      return nullptr;
  }
}

// Where a block keeps the group that begins with a module of this role.
LinearGroup& group_for(BlockWeights& block, ModuleRole role) {
  switch (role) {
    case ModuleRole::query:
    case ModuleRole::qkv:
      return block.qkv;
    case ModuleRole::attention_output:
      return block.attention_output;
    case ModuleRole::gate:
    case ModuleRole::up:
    case ModuleRole::gate_up:
      return block.gate_up;
    default:
      TORCH_CHECK(role == ModuleRole::down, "a block has no such group");
      return block.down;
  }
}

// Modules [begin, end) are those of one group.
void load_group(Loader& loader, const std::vector<ModuleInfo>& modules, int64_t begin, int64_t end,
                BlockWeights& block) {
  const ModuleInfo& first = modules[begin];
  if (NormWeight* norm = norm_for(block, first.role)) {
    *norm = loader.norm(first, begin);
  } else {
    group_for(block, first.role) = loader.linear(modules, begin, end);
  }
  for (int64_t module = begin; module < end; ++module) block.modules.push_back(module);
}

// Only this rank's part of the block's matrices stays.
void shard_block(BlockWeights& block, const std::shared_ptr<GatherQueue>& gathers,
                 at::Device device) {
  const std::vector<LinearGroup*> groups = {&block.qkv, &block.attention_output, &block.gate_up,
                                            &block.down};
  std::vector<std::shared_ptr<const WeightSource>> matrices;
  for (const LinearGroup* group : groups) matrices.push_back(group->weight);
  matrices = shard(gathers, matrices, device);
  for (size_t i = 0; i < groups.size(); ++i) groups[i]->weight = matrices[i];
}

// A sequence-classification checkpoint has no projection onto the vocabulary; the embedding stands
// in and is never asked.
std::shared_ptr<const WeightSource> load_head_weight(
    Loader& loader, const Checkpoint& checkpoint, const ModuleInfo& head,
    const std::shared_ptr<const WeightSource>& embedding) {
  const DecoderConfig& config = checkpoint.config;
  if (config.tie_word_embeddings) return embedding;
  if (checkpoint.tensors->contains(head.path + ".weight")) return loader.vocabulary(head);
  if (config.num_labels > 0) return embedding;
  throw FormatError(
      fmt::format("{}: has no tensor {}.weight", checkpoint.path.string(), head.path));
}

// Sharded where it has a weight of its own.
VocabularyHead load_head(Loader& loader, const Checkpoint& checkpoint, const ModuleInfo& info,
                         int64_t module, const LoadOptions& options,
                         const std::shared_ptr<const WeightSource>& embedding) {
  VocabularyHead head;
  head.scale = checkpoint.config.logit_scale;
  head.softcap = checkpoint.config.logit_softcap;
  head.weight = load_head_weight(loader, checkpoint, info, embedding);
  const bool classifies = checkpoint.config.num_labels > 0;
  const std::string bias = info.path + ".bias";
  if (info.has_bias && (!classifies || checkpoint.tensors->contains(bias))) {
    head.bias = loader.read(bias, {info.out_features}).clone().to(options.device);
  }
  if (options.gathers != nullptr && head.weight != embedding) {
    head.weight = shard(options.gathers, {head.weight}, options.device)[0];
  }
  head.parts = {{.module = module, .num_columns = info.out_features}};
  return head;
}

}  // namespace

at::ScalarType norm_dtype(at::ScalarType dtype, Quantize quantize) {
  const bool narrow = dtype == at::kBFloat16 || dtype == at::kHalf;
  return quantize != Quantize::none && narrow ? at::kFloat : dtype;
}

DecoderWeights load_decoder_weights(const Checkpoint& checkpoint, const LoadOptions& options) {
  const DecoderConfig& config = checkpoint.config;
  check(config, checkpoint.path.string());
  require_all_read(checkpoint);
  if (options.quantize == Quantize::keep) {
    if (const auto problem = keep_problem(checkpoint)) throw ConfigError(*problem);
  }
  if (options.gathers != nullptr && options.quantize != Quantize::none) {
    throw ConfigError("quantised weights are not sharded");
  }
  TORCH_CHECK(!options.fast || (options.quantize == Quantize::none && options.device.is_cpu() &&
                                options.gathers == nullptr),
              "fast weights are whole, on the CPU, and quantised in their own way");
  const std::shared_ptr<GatherQueue>& gathers = options.gathers;
  Loader loader(checkpoint, options);
  DecoderWeights weights;
  weights.modules = decoder_modules(config);
  const std::vector<ModuleInfo>& modules = weights.modules;
  weights.blocks.resize(static_cast<size_t>(config.num_layers));
  const auto groups = module_groups(modules);
  for (size_t i = 0; i < groups.size(); ++i) {
    const auto& [begin, end] = groups[i];
    const ModuleInfo& first = modules[begin];
    if (first.layer >= 0) {
      BlockWeights& block = weights.blocks[first.layer];
      load_group(loader, modules, begin, end, block);
      const bool last = modules[groups[i + 1].first].layer != first.layer;
      if (gathers != nullptr && last) shard_block(block, gathers, options.device);
    } else if (first.role == ModuleRole::embedding) {
      weights.embedding = loader.vocabulary(first);
      if (gathers != nullptr) {
        weights.embedding = shard(gathers, {weights.embedding}, options.device)[0];
      }
      weights.embedding_module = begin;
    } else if (first.role == ModuleRole::positions) {
      weights.positions = loader.positions(first);
      weights.positions_module = begin;
    } else if (first.role == ModuleRole::embedding_norm) {
      weights.embedding_norm = loader.norm(first, begin);
    } else if (first.role == ModuleRole::final_norm) {
      weights.final_norm = loader.norm(first, begin);
    } else {
      weights.head = load_head(loader, checkpoint, first, begin, options, weights.embedding);
    }
  }
  weights.identity = {.path = checkpoint.path.string(),
                      .fingerprint = base_fingerprint(checkpoint)};
  weights.num_parameters = loader.num_parameters;
  return weights;
}

}  // namespace leash

#include "models/families/decoder_modules.h"

#include <fmt/format.h>

#include <utility>

#include "models/families/module_paths.h"

namespace leash {
namespace {

// Collects modules; those of one begin() are one product, or one tensor.
class ModuleList {
 public:
  explicit ModuleList(const DecoderConfig& config) : config_(config) {}

  ModuleList& begin() {
    ++group_;
    return *this;
  }
  ModuleList& linear(ModuleRole role, std::string_view path, int64_t in, int64_t out, bool bias) {
    return add({.path = std::string(path),
                .kind = ModuleKind::linear,
                .in_features = in,
                .out_features = out,
                .has_bias = bias,
                .role = role,
                .transposed = config_.weights_transposed});
  }
  ModuleList& norm(ModuleRole role, std::string_view path, int64_t width) {
    return add({.path = std::string(path),
                .kind = ModuleKind::norm,
                .in_features = width,
                .out_features = width,
                .has_bias = config_.norm_bias,
                .role = role});
  }
  ModuleList& embedding(ModuleRole role, std::string_view path, int64_t rows) {
    return add({.path = std::string(path),
                .kind = ModuleKind::embedding,
                .in_features = rows,
                .out_features = config_.hidden_size,
                .role = role});
  }
  // All groups of a block, behind what is there.
  void block(const std::vector<ModuleInfo>& modules, const std::string& prefix, int64_t layer) {
    const int64_t first = group_ + 1;
    for (ModuleInfo module : modules) {
      module.path = prefix + module.path;
      module.layer = layer;
      module.group += first;
      group_ = module.group;
      modules_.push_back(std::move(module));
    }
  }
  std::vector<ModuleInfo> take() { return std::move(modules_); }

 private:
  ModuleList& add(ModuleInfo module) {
    module.group = group_;
    modules_.push_back(std::move(module));
    return *this;
  }

  const DecoderConfig& config_;
  std::vector<ModuleInfo> modules_;
  int64_t group_ = -1;
};

void add_attention(const DecoderConfig& config, const ModulePaths& paths, ModuleList& list) {
  const int64_t hidden = config.hidden_size;
  const int64_t queries = config.num_heads * config.head_dim;
  const int64_t keys = config.num_kv_heads * config.head_dim;
  list.begin();
  if (config.qkv_layout == QkvLayout::separate) {
    list.linear(ModuleRole::query, paths.query, hidden, queries, config.qkv_bias)
        .linear(ModuleRole::key, paths.key, hidden, keys, config.qkv_bias)
        .linear(ModuleRole::value, paths.value, hidden, keys, config.qkv_bias);
  } else {
    list.linear(ModuleRole::qkv, paths.qkv, hidden, queries + 2 * keys, config.qkv_bias);
  }
  list.begin().linear(ModuleRole::attention_output, paths.attention_output, queries, hidden,
                      config.attention_output_bias);
}

void add_mlp(const DecoderConfig& config, const ModulePaths& paths, ModuleList& list) {
  const int64_t hidden = config.hidden_size;
  const int64_t middle = config.intermediate_size;
  list.begin();
  if (config.gated_mlp && config.fused_gate_up) {
    list.linear(ModuleRole::gate_up, paths.gate_up, hidden, 2 * middle, config.mlp_bias);
  } else {
    if (config.gated_mlp)
      list.linear(ModuleRole::gate, paths.gate, hidden, middle, config.mlp_bias);
    list.linear(ModuleRole::up, paths.up, hidden, middle, config.mlp_bias);
  }
  list.begin().linear(ModuleRole::down, paths.down, middle, hidden, config.mlp_bias);
}

void add_norms(const DecoderConfig& config, const ModulePaths& paths, ModuleList& list) {
  const int64_t hidden = config.hidden_size;
  if (config.norm_placement != NormPlacement::behind) {
    list.begin().norm(ModuleRole::input_norm, paths.input_norm, hidden);
    if (!config.shared_norm) list.begin().norm(ModuleRole::mlp_norm, paths.mlp_norm, hidden);
  }
  if (config.norm_placement != NormPlacement::before) {
    list.begin().norm(ModuleRole::attention_post_norm, paths.attention_post_norm, hidden);
    list.begin().norm(ModuleRole::mlp_post_norm, paths.mlp_post_norm, hidden);
  }
  if (config.qk_norm == QkNorm::none) return;
  const bool whole = config.qk_norm == QkNorm::whole;
  list.begin().norm(ModuleRole::query_norm, paths.query_norm,
                    whole ? config.num_heads * config.head_dim : config.head_dim);
  list.begin().norm(ModuleRole::key_norm, paths.key_norm,
                    whole ? config.num_kv_heads * config.head_dim : config.head_dim);
}

}  // namespace

std::vector<ModuleInfo> block_modules(const DecoderConfig& config) {
  const ModulePaths paths = module_paths(config);
  ModuleList list(config);
  add_attention(config, paths, list);
  add_mlp(config, paths, list);
  add_norms(config, paths, list);
  return list.take();
}

std::vector<ModuleInfo> decoder_modules(const DecoderConfig& config) {
  const ModulePaths paths = module_paths(config);
  ModuleList list(config);
  list.begin().embedding(ModuleRole::embedding, in_trunk(paths, paths.embedding),
                         config.vocab_size);
  if (config.positions == PositionKind::learned) {
    list.begin().embedding(ModuleRole::positions, in_trunk(paths, paths.positions),
                           config.max_positions + config.position_offset);
  }
  if (config.embedding_norm) {
    list.begin().norm(ModuleRole::embedding_norm, in_trunk(paths, paths.embedding_norm),
                      config.hidden_size);
  }
  const std::vector<ModuleInfo> block = block_modules(config);
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    list.block(block, fmt::format("{}.{}.{}.", paths.trunk, paths.layers, layer), layer);
  }
  list.begin().norm(ModuleRole::final_norm, in_trunk(paths, paths.final_norm), config.hidden_size);
  list.begin().linear(ModuleRole::lm_head, paths.head, config.hidden_size, config.vocab_size,
                      config.head_bias);
  std::vector<ModuleInfo> modules = list.take();
  modules.back().transposed = false;  // the head is a plain linear layer everywhere
  return modules;
}

std::vector<std::pair<int64_t, int64_t>> module_groups(std::span<const ModuleInfo> modules) {
  std::vector<std::pair<int64_t, int64_t>> groups;
  for (int64_t i = 0; i < std::ssize(modules); ++i) {
    if (i > 0 && modules[i].group == modules[i - 1].group) {
      groups.back().second = i + 1;
    } else {
      groups.emplace_back(i, i + 1);
    }
  }
  return groups;
}

ModuleIndex::ModuleIndex(std::span<const ModuleInfo> modules) {
  for (int64_t i = 0; i < std::ssize(modules); ++i) {
    by_place_.emplace(std::pair(modules[i].layer, modules[i].role), i);
  }
}

int64_t ModuleIndex::find(ModuleRole role, int64_t layer) const {
  const auto found = by_place_.find({layer, role});
  return found == by_place_.end() ? -1 : found->second;
}

}  // namespace leash

#include "models/families/decoder_modules.h"

#include <fmt/format.h>

#include <utility>

namespace leash {
namespace {

ModuleInfo norm(ModuleRole role, std::string path, int64_t width, int64_t group) {
  return {.path = std::move(path),
          .kind = ModuleKind::norm,
          .in_features = width,
          .out_features = width,
          .role = role,
          .group = group};
}

}  // namespace

std::vector<ModuleInfo> block_modules(const DecoderConfig& config) {
  const int64_t hidden = config.hidden_size;
  const int64_t middle = config.intermediate_size;
  const int64_t queries = config.num_heads * config.head_dim;
  const int64_t keys = config.num_kv_heads * config.head_dim;
  std::vector<ModuleInfo> modules;
  const auto linear = [&](ModuleRole role, const char* path, int64_t in, int64_t out, bool bias,
                          int64_t group) {
    modules.push_back({.path = path,
                       .kind = ModuleKind::linear,
                       .in_features = in,
                       .out_features = out,
                       .has_bias = bias,
                       .role = role,
                       .group = group});
  };
  linear(ModuleRole::query, "self_attn.q_proj", hidden, queries, config.qkv_bias, 0);
  linear(ModuleRole::key, "self_attn.k_proj", hidden, keys, config.qkv_bias, 0);
  linear(ModuleRole::value, "self_attn.v_proj", hidden, keys, config.qkv_bias, 0);
  linear(ModuleRole::attention_output, "self_attn.o_proj", queries, hidden,
         config.attention_output_bias, 1);
  linear(ModuleRole::gate, "mlp.gate_proj", hidden, middle, config.mlp_bias, 2);
  linear(ModuleRole::up, "mlp.up_proj", hidden, middle, config.mlp_bias, 2);
  linear(ModuleRole::down, "mlp.down_proj", middle, hidden, config.mlp_bias, 3);
  modules.push_back(norm(ModuleRole::input_norm, "input_layernorm", hidden, 4));
  modules.push_back(norm(ModuleRole::mlp_norm, "post_attention_layernorm", hidden, 5));
  return modules;
}

std::vector<ModuleInfo> decoder_modules(const DecoderConfig& config) {
  std::vector<ModuleInfo> modules = {{.path = "model.embed_tokens",
                                      .kind = ModuleKind::embedding,
                                      .in_features = config.vocab_size,
                                      .out_features = config.hidden_size,
                                      .role = ModuleRole::embedding,
                                      .group = 0}};
  const std::vector<ModuleInfo> block = block_modules(config);
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const int64_t first = modules.back().group + 1;
    for (ModuleInfo module : block) {
      module.path = fmt::format("model.layers.{}.{}", layer, module.path);
      module.layer = layer;
      module.group += first;
      modules.push_back(std::move(module));
    }
  }
  const int64_t next = modules.back().group + 1;
  modules.push_back(norm(ModuleRole::final_norm, "model.norm", config.hidden_size, next));
  modules.push_back({.path = "lm_head",
                     .kind = ModuleKind::linear,
                     .in_features = config.hidden_size,
                     .out_features = config.vocab_size,
                     .role = ModuleRole::lm_head,
                     .group = next + 1});
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

#include "models/families/decoder_modules.h"

#include <fmt/format.h>

#include <utility>

namespace leash {
namespace {

ModuleInfo linear(std::string path, int64_t in_features, int64_t out_features,
                  bool has_bias = false) {
  return {.path = std::move(path),
          .kind = ModuleKind::linear,
          .in_features = in_features,
          .out_features = out_features,
          .has_bias = has_bias};
}

ModuleInfo norm(std::string path, int64_t width) {
  return {.path = std::move(path),
          .kind = ModuleKind::norm,
          .in_features = width,
          .out_features = width};
}

void add_block(const DecoderConfig& config, int64_t layer, std::vector<ModuleInfo>& modules) {
  const std::string block = fmt::format("model.layers.{}.", layer);
  const int64_t hidden = config.hidden_size;
  const int64_t middle = config.intermediate_size;
  const int64_t queries = config.num_heads * config.head_dim;
  const int64_t keys = config.num_kv_heads * config.head_dim;
  modules.push_back(linear(block + "self_attn.q_proj", hidden, queries, config.qkv_bias));
  modules.push_back(linear(block + "self_attn.k_proj", hidden, keys, config.qkv_bias));
  modules.push_back(linear(block + "self_attn.v_proj", hidden, keys, config.qkv_bias));
  modules.push_back(
      linear(block + "self_attn.o_proj", queries, hidden, config.attention_output_bias));
  modules.push_back(linear(block + "mlp.gate_proj", hidden, middle, config.mlp_bias));
  modules.push_back(linear(block + "mlp.up_proj", hidden, middle, config.mlp_bias));
  modules.push_back(linear(block + "mlp.down_proj", middle, hidden, config.mlp_bias));
  modules.push_back(norm(block + "input_layernorm", hidden));
  modules.push_back(norm(block + "post_attention_layernorm", hidden));
}

}  // namespace

std::vector<ModuleInfo> decoder_modules(const DecoderConfig& config) {
  std::vector<ModuleInfo> modules = {{.path = "model.embed_tokens",
                                      .kind = ModuleKind::embedding,
                                      .in_features = config.vocab_size,
                                      .out_features = config.hidden_size}};
  for (int64_t layer = 0; layer < config.num_layers; ++layer) add_block(config, layer, modules);
  modules.push_back(norm("model.norm", config.hidden_size));
  modules.push_back(linear("lm_head", config.hidden_size, config.vocab_size));
  return modules;
}

}  // namespace leash

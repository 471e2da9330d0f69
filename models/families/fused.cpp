// Families with layer norms and a plain MLP, most of them with one fused projection: GPT-2,
// GPT-NeoX, OPT, Falcon and BLOOM.
#include <fmt/format.h>

#include "models/families/config_steps.h"
#include "models/families/family_readers.h"
#include "models/families/rope_config.h"

namespace leash {
namespace {

constexpr int64_t kWidening = 4;  // of the MLP where nothing is said

void set_layer_norms(const JsonFields& json, const char* epsilon_key, DecoderConfig& config) {
  config.norm = NormKind::layer;
  config.norm_bias = true;
  config.norm_epsilon = json.number(epsilon_key).value_or(1e-5);
  config.gated_mlp = false;
}

void set_all_biases(bool value, DecoderConfig& config) {
  config.qkv_bias = value;
  config.attention_output_bias = value;
  config.mlp_bias = value;
}

// The class takes n_embed for hidden_size where an old file has it.
int64_t hidden_size(const JsonFields& json) { return spelled_size(json, "hidden_size", "n_embed"); }

int64_t falcon_kv_heads(const JsonFields& json, bool is_new, const DecoderConfig& config) {
  const int64_t said = json.integer("num_kv_heads").value_or(config.num_heads);
  const bool one = json.boolean("multi_query").value_or(true);
  if (is_new) return said;
  if (one) return 1;
  if (said != config.num_heads) {
    json.fail(
        fmt::format("num_kv_heads is {} without multi_query and new_decoder_architecture: "
                    "each of the {} heads has keys then",
                    said, config.num_heads));
  }
  return said;
}

// One norm before attention and MLP, or one before each.
bool falcon_shares_norm(const JsonFields& json, bool is_new, const DecoderConfig& config) {
  const auto norms = json.integer("num_ln_in_parallel_attn");
  if (!config.parallel_residual) return false;
  const int64_t number = norms.value_or(is_new ? 2 : 1);
  if (number < 1 || number > (is_new ? 2 : 1)) {
    json.fail(
        fmt::format("num_ln_in_parallel_attn: {} is not supported {} "
                    "new_decoder_architecture",
                    number, is_new ? "with" : "without"));
  }
  return number == 1;
}

}  // namespace

void read_gpt2(const JsonFields& json, DecoderConfig& config) {
  config.vocab_size = required_size(json, "vocab_size");
  config.hidden_size = spelled_size(json, "n_embd", "hidden_size");
  config.num_layers = spelled_size(json, "n_layer", "num_hidden_layers");
  config.num_heads = spelled_size(json, "n_head", "num_attention_heads");
  config.num_kv_heads = config.num_heads;
  config.max_positions = spelled_size(json, "n_positions", "max_position_embeddings", 1024);
  config.intermediate_size = size_or(json, "n_inner", kWidening * config.hidden_size);
  set_even_heads(json, config);
  set_layer_norms(json, "layer_norm_epsilon", config);
  config.activation = activation(json, "activation_function", "gelu_new");
  require_flag(json, "scale_attn_weights", true);
  require_flag(json, "scale_attn_by_inverse_layer_idx", false);
  require_flag(json, "reorder_and_upcast_attn", false);
  config.positions = PositionKind::learned;
  config.qkv_layout = QkvLayout::stacked;
  config.weights_transposed = true;
  set_all_biases(true, config);
}

void read_gpt_neox(const JsonFields& json, DecoderConfig& config) {
  read_sizes(json, {}, config);
  if (config.num_kv_heads != config.num_heads) {
    json.fail("num_key_value_heads is not supported for this family");
  }
  set_even_heads(json, config);
  set_layer_norms(json, "layer_norm_eps", config);
  config.activation = activation(json, "hidden_act", "gelu");
  config.qkv_layout = QkvLayout::grouped;
  config.parallel_residual = json.boolean("use_parallel_residual").value_or(true);
  set_all_biases(json.boolean("attention_bias").value_or(true), config);
  config.mlp_bias = true;
  read_rope(json,
            {.theta_key = "rotary_emb_base",
             .may_be_partial = true,
             .partial = 0.25,
             .partial_key = "rotary_pct"},
            config);
}

void read_opt(const JsonFields& json, DecoderConfig& config) {
  constexpr int64_t kOffset = 2;
  config.vocab_size = required_size(json, "vocab_size");
  config.hidden_size = required_size(json, "hidden_size");
  config.num_layers = required_size(json, "num_hidden_layers");
  config.num_heads = required_size(json, "num_attention_heads");
  config.num_kv_heads = config.num_heads;
  config.intermediate_size = required_size(json, "ffn_dim");
  config.max_positions = size_or(json, "max_position_embeddings", 2048);
  set_even_heads(json, config);
  config.norm = NormKind::layer;
  config.norm_bias = true;
  config.norm_epsilon = 1e-5;  // the class takes no other
  config.gated_mlp = false;
  config.activation = activation(json, "activation_function", "relu");
  const int64_t width = json.integer("word_embed_proj_dim").value_or(config.hidden_size);
  if (width != config.hidden_size) {
    json.fail(
        fmt::format("word_embed_proj_dim is {}, other than the hidden size ({}) is not "
                    "supported",
                    width, config.hidden_size));
  }
  require_flag(json, "do_layer_norm_before", true);
  require_flag(json, "_remove_final_layer_norm", false);
  require_flag(json, "layer_norm_elementwise_affine", true);
  config.positions = PositionKind::learned;
  config.position_offset = kOffset;
  set_all_biases(json.boolean("enable_bias").value_or(true), config);
  config.initializer_range = json.number("init_std").value_or(config.initializer_range);
}

void read_falcon(const JsonFields& json, DecoderConfig& config) {
  config.vocab_size = required_size(json, "vocab_size");
  config.hidden_size = hidden_size(json);
  config.num_layers = required_size(json, "num_hidden_layers");
  config.num_heads = required_size(json, "num_attention_heads");
  config.max_positions = size_or(json, "max_position_embeddings", 2048);
  config.intermediate_size = size_or(json, "ffn_hidden_size", kWidening * config.hidden_size);
  set_even_heads(json, config);
  set_layer_norms(json, "layer_norm_epsilon", config);
  config.activation = activation(json, "activation", "gelu");
  const bool is_new = json.boolean("new_decoder_architecture").value_or(false);
  config.num_kv_heads = falcon_kv_heads(json, is_new, config);
  config.qkv_layout = QkvLayout::grouped;
  config.parallel_residual = json.boolean("parallel_attn").value_or(true);
  if (is_new && !config.parallel_residual) {
    json.fail("parallel_attn: false with new_decoder_architecture is not supported");
  }
  config.shared_norm = falcon_shares_norm(json, is_new, config);
  set_all_biases(json.boolean("bias").value_or(false), config);
  if (json.boolean("alibi").value_or(false)) {
    config.positions = PositionKind::alibi;
    config.alibi_in_bfloat16 = true;
    for (const char* unused : {"rope_theta", "rope_scaling", "rope_parameters"}) json.find(unused);
  } else {
    read_rope(json, {}, config);
  }
}

void read_bloom(const JsonFields& json, DecoderConfig& config) {
  config.vocab_size = required_size(json, "vocab_size");
  config.hidden_size = hidden_size(json);
  config.num_layers = spelled_size(json, "n_layer", "num_hidden_layers");
  config.num_heads = spelled_size(json, "n_head", "num_attention_heads");
  config.num_kv_heads = config.num_heads;
  // ALiBi sets no limit; seq_length is what the model was trained with.
  config.max_positions = size_or(json, "seq_length", 2048);
  config.intermediate_size = kWidening * config.hidden_size;
  set_even_heads(json, config);
  set_layer_norms(json, "layer_norm_epsilon", config);
  config.activation = Activation::gelu_tanh;
  require_flag(json, "apply_residual_connection_post_layernorm", false);
  config.positions = PositionKind::alibi;
  config.qkv_layout = QkvLayout::grouped;
  config.embedding_norm = true;
  set_all_biases(true, config);
}

}  // namespace leash

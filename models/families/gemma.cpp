// Gemma 1 to 3: scaled embeddings, norms whose weight counts from 1, heads of their own size.
#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "models/families/config_steps.h"
#include "models/families/family_readers.h"
#include "models/families/rope_config.h"

namespace leash {
namespace {

constexpr int64_t kWindow = 4096;         // sliding_window where nothing is said
constexpr double kAttentionScalar = 256;  // query_pre_attn_scalar

// What config.json says as null or a number; absent is what the class takes.
double softcap(const JsonFields& json, const char* key, double otherwise) {
  if (json.is_null(key)) return 0.0;
  const auto said = json.number(key);
  if (said && !(*said > 0)) json.fail(fmt::format("{} is {}, it must be positive", key, *said));
  return said.value_or(otherwise);
}

void read_outline_of_gemma(const JsonFields& json, DecoderConfig& config) {
  require_flag(json, "use_bidirectional_attention", false);
  config.norm_epsilon = json.number("rms_norm_eps").value_or(1e-6);
  config.norm_offset = 1.0;
  config.embedding_scale = std::sqrt(static_cast<double>(config.hidden_size));
  config.qkv_bias = json.boolean("attention_bias").value_or(false);
  config.attention_output_bias = config.qkv_bias;
}

// Gemma 2 and 3 read hidden_activation; a hidden_act beside it must not mean another one.
void read_gemma_activation(const JsonFields& json, DecoderConfig& config) {
  config.activation = activation(json, "hidden_activation", "gelu_pytorch_tanh");
  if (!json.has("hidden_act")) return;
  const Activation other = activation(json, "hidden_act", "gelu_pytorch_tanh");
  const bool same = other == config.activation ||
                    (other == Activation::gelu && config.activation == Activation::gelu_tanh);
  if (!same) json.fail("hidden_act and hidden_activation disagree");
}

void read_attention_scalar(const JsonFields& json, DecoderConfig& config) {
  const double scalar = json.number("query_pre_attn_scalar").value_or(kAttentionScalar);
  if (!(scalar > 0)) {
    json.fail(fmt::format("query_pre_attn_scalar is {}, it must be positive", scalar));
  }
  config.attention_scale = 1.0 / std::sqrt(scalar);
}

// Every `pattern`th layer sees everything.
std::vector<bool> sliding_by_pattern(int64_t num_layers, int64_t pattern) {
  std::vector<bool> sliding;
  for (int64_t i = 0; i < num_layers; ++i) sliding.push_back((i + 1) % pattern != 0);
  return sliding;
}

std::optional<int64_t> gemma_window(const JsonFields& json) {
  const auto window = json.integer("sliding_window");
  return window || json.is_null("sliding_window") ? window : kWindow;
}

}  // namespace

void read_gemma(const JsonFields& json, DecoderConfig& config) {
  read_sizes(json, {.num_kv_heads = 16, .head_dim = 256, .max_positions = 8192}, config);
  read_outline_of_gemma(json, config);
  config.activation = activation(json, "hidden_act", "gelu_pytorch_tanh");
  // The first files said "gelu" and meant its approximation.
  if (config.activation == Activation::gelu) config.activation = Activation::gelu_tanh;
  if (json.has("hidden_activation") &&
      activation(json, "hidden_activation", "") != config.activation) {
    json.fail("hidden_act and hidden_activation disagree");
  }
  read_rope(json, {}, config);
  require_layers(json, config.num_layers, false);
}

void read_gemma2(const JsonFields& json, DecoderConfig& config) {
  read_sizes(json, {.num_kv_heads = 4, .head_dim = 256, .max_positions = 8192}, config);
  read_outline_of_gemma(json, config);
  read_gemma_activation(json, config);
  read_attention_scalar(json, config);
  read_rope(json, {}, config);
  config.norm_placement = NormPlacement::both;
  config.attention_softcap = softcap(json, "attn_logit_softcapping", 50.0);
  config.logit_softcap = softcap(json, "final_logit_softcapping", 30.0);
  const auto sliding = sliding_layers(json, config.num_layers);
  set_windows(json, sliding.value_or(sliding_by_pattern(config.num_layers, 2)), gemma_window(json),
              config);
}

void read_gemma3_text(const JsonFields& json, DecoderConfig& config) {
  constexpr int64_t kPattern = 6;
  read_sizes(json,
             {.vocab_size = 262208,
              .hidden_size = 2304,
              .intermediate_size = 9216,
              .num_layers = 26,
              .num_heads = 8,
              .num_kv_heads = 4,
              .head_dim = 256,
              .max_positions = 131072},
             config);
  read_outline_of_gemma(json, config);
  read_gemma_activation(json, config);
  read_attention_scalar(json, config);
  read_rope_by_layer_type(json, config);
  config.norm_placement = NormPlacement::both;
  config.qk_norm = QkNorm::per_head;
  // The class has the field, and no line that reads it.
  if (json.has("attn_logit_softcapping")) json.fail("attn_logit_softcapping is not supported");
  config.logit_softcap = softcap(json, "final_logit_softcapping", 0.0);
  auto sliding = sliding_layers(json, config.num_layers);
  const int64_t pattern = json.integer("sliding_window_pattern").value_or(kPattern);
  if (json.integer("_sliding_window_pattern").value_or(pattern) != pattern && !sliding) {
    json.fail("_sliding_window_pattern without layer_types is not supported");
  }
  if (pattern < 1) json.fail("sliding_window_pattern must be positive");
  if (!sliding) sliding = sliding_by_pattern(config.num_layers, pattern);
  set_windows(json, *sliding, gemma_window(json), config);
  for (size_t i = 0; i < sliding->size(); ++i) {
    if ((*sliding)[i]) listed_layers(config)[i].rope = LayerRope::local;
  }
}

}  // namespace leash

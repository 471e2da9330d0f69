// Llama and what follows its outline: RMS norms, gated MLP, separate projections, whole rotation.
#include <fmt/format.h>

#include <vector>

#include "models/families/config_steps.h"
#include "models/families/family_readers.h"
#include "models/families/rope_config.h"

namespace leash {
namespace {

constexpr int64_t kQwenWindow = 4096;  // sliding_window where nothing is said
constexpr int64_t kQwenFullLayers = 28;

void read_outline(const JsonFields& json, const SizeDefaults& sizes, const RopeRules& rope,
                  DecoderConfig& config) {
  read_sizes(json, sizes, config);
  config.norm_epsilon = json.number("rms_norm_eps").value_or(1e-6);
  config.activation = activation(json, "hidden_act", "silu");
  read_rope(json, rope, config);
}

void read_attention_bias(const JsonFields& json, DecoderConfig& config) {
  config.qkv_bias = json.boolean("attention_bias").value_or(false);
  config.attention_output_bias = config.qkv_bias;
}

// Qwen 2 and 3: the first layers see everything.
void read_qwen_windows(const JsonFields& json, DecoderConfig& config) {
  auto window = json.integer("sliding_window");
  if (!window && !json.is_null("sliding_window")) window = kQwenWindow;
  if (!json.boolean("use_sliding_window").value_or(false)) window.reset();
  const int64_t full = json.integer("max_window_layers").value_or(kQwenFullLayers);
  auto sliding = sliding_layers(json, config.num_layers);
  if (!sliding) {
    sliding.emplace();
    for (int64_t i = 0; i < config.num_layers; ++i) sliding->push_back(window && i >= full);
  }
  set_windows(json, *sliding, window, config);
}

void read_no_rope_layers(const JsonFields& json, DecoderConfig& config) {
  constexpr int64_t kInterval = 4;
  std::vector<int64_t> rotated;
  const int64_t interval = json.integer("no_rope_layer_interval").value_or(kInterval);
  if (const auto said = json.integers("no_rope_layers")) {
    rotated = *said;
  } else {
    if (interval < 1) json.fail("no_rope_layer_interval must be positive");
    for (int64_t i = 0; i < config.num_layers; ++i) rotated.push_back((i + 1) % interval != 0);
  }
  if (static_cast<int64_t>(rotated.size()) < config.num_layers) {
    json.fail(
        fmt::format("no_rope_layers lists {} layers of {}", rotated.size(), config.num_layers));
  }
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const auto layer = static_cast<size_t>(i);
    if (rotated[layer] == 0) listed_layers(config)[layer].rope = LayerRope::none;
  }
}

}  // namespace

void read_llama(const JsonFields& json, DecoderConfig& config) {
  read_outline(json, {}, {}, config);
  read_attention_bias(json, config);
  config.mlp_bias = json.boolean("mlp_bias").value_or(false);
  require_layers(json, config.num_layers, false);
}

void read_smollm3(const JsonFields& json, DecoderConfig& config) {
  read_outline(json, {.num_kv_heads = 4, .max_positions = 32768}, {.theta = 2'000'000.0}, config);
  read_attention_bias(json, config);
  config.mlp_bias = json.boolean("mlp_bias").value_or(false);
  read_no_rope_layers(json, config);
  const bool slides = json.boolean("use_sliding_window").value_or(false);
  const auto window = json.integer("sliding_window");
  auto sliding = sliding_layers(json, config.num_layers);
  if (!sliding) {
    sliding.emplace();
    for (int64_t i = 0; i < config.num_layers; ++i) {
      const bool rotated =
          config.layers.empty() || config.layers[static_cast<size_t>(i)].rope != LayerRope::none;
      sliding->push_back(slides && window && !rotated);
    }
  }
  // transformers' kernels disagree on sliding layers without the switch.
  set_windows(json, *sliding, slides ? window : std::nullopt, config);
}

void read_mistral(const JsonFields& json, DecoderConfig& config) {
  constexpr int64_t kWindow = 4096;
  read_outline(json, {.num_kv_heads = 8, .max_positions = 131072}, {}, config);
  // Absent is not null: the class then assumes its own width.
  auto window = json.integer("sliding_window");
  if (!window && !json.is_null("sliding_window")) window = kWindow;
  require_layers(json, config.num_layers, window.has_value());
  set_windows(json, std::vector<bool>(static_cast<size_t>(config.num_layers), window.has_value()),
              window, config);
}

void read_qwen2(const JsonFields& json, DecoderConfig& config) {
  read_outline(json, {.num_kv_heads = 32, .max_positions = 32768}, {}, config);
  config.qkv_bias = true;
  read_qwen_windows(json, config);
}

void read_qwen3(const JsonFields& json, DecoderConfig& config) {
  read_outline(json, {.num_kv_heads = 32, .head_dim = 128, .max_positions = 32768}, {}, config);
  read_attention_bias(json, config);
  config.qk_norm = QkNorm::per_head;
  read_qwen_windows(json, config);
}

void read_olmo2(const JsonFields& json, DecoderConfig& config) {
  read_outline(json, {}, {}, config);
  config.norm_epsilon = json.number("rms_norm_eps").value_or(1e-5);
  read_attention_bias(json, config);
  config.qk_norm = QkNorm::whole;
  config.norm_placement = NormPlacement::behind;
  require_layers(json, config.num_layers, false);
  if (json.has("clip_qkv")) json.fail("clip_qkv is not supported");
}

void read_granite(const JsonFields& json, DecoderConfig& config) {
  read_outline(json, {}, {}, config);
  read_attention_bias(json, config);
  config.mlp_bias = json.boolean("mlp_bias").value_or(false);
  const auto multiplier = [&](const char* key) {
    const double value = json.number(key).value_or(1.0);
    if (!(value > 0)) json.fail(fmt::format("{} is {}, it must be positive", key, value));
    return value;
  };
  config.embedding_scale = multiplier("embedding_multiplier");
  config.residual_scale = multiplier("residual_multiplier");
  config.attention_scale = multiplier("attention_multiplier");
  config.logit_scale = 1.0 / multiplier("logits_scaling");
  require_layers(json, config.num_layers, false);
}

}  // namespace leash

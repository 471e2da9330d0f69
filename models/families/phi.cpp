// Phi 1 to 2 (parallel residual, biases everywhere) and Phi-3 (Llama with fused projections).
#include <vector>

#include "models/families/config_steps.h"
#include "models/families/family_readers.h"
#include "models/families/rope_config.h"

namespace leash {

void read_phi(const JsonFields& json, DecoderConfig& config) {
  read_sizes(json, {}, config);
  require_flag(json, "qk_layernorm", false);
  config.norm = NormKind::layer;
  config.norm_bias = true;
  config.norm_epsilon = json.number("layer_norm_eps").value_or(1e-5);
  config.activation = activation(json, "hidden_act", "gelu_new");
  config.gated_mlp = false;
  config.parallel_residual = true;
  config.shared_norm = true;
  config.qkv_bias = true;
  config.attention_output_bias = true;
  config.mlp_bias = true;
  config.head_bias = true;
  read_rope(json, {.may_be_partial = true, .partial = 0.5}, config);
  require_layers(json, config.num_layers, false);
}

void read_phi3(const JsonFields& json, DecoderConfig& config) {
  constexpr int64_t kOriginal = 4096;
  read_sizes(json, {.max_positions = 4096}, config);
  config.norm_epsilon = json.number("rms_norm_eps").value_or(1e-5);
  config.activation = activation(json, "hidden_act", "silu");
  config.qkv_layout = QkvLayout::stacked;
  config.fused_gate_up = true;
  read_rope(json, {.may_be_partial = true, .is_phi3 = true, .original_max_positions = kOriginal},
            config);
  require_flag(json, "attention_bias", false);
  const auto window = json.integer("sliding_window");
  require_layers(json, config.num_layers, window.has_value());
  set_windows(json, std::vector<bool>(static_cast<size_t>(config.num_layers), window.has_value()),
              window, config);
}

}  // namespace leash

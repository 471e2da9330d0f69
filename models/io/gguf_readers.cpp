#include "models/io/gguf_readers.h"

#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "models/io/gguf_rope.h"

namespace leash {
namespace {

void set_layer_norm(const GgufMetadata& metadata, Activation activation, DecoderConfig& config) {
  config.norm = NormKind::layer;
  config.norm_bias = true;
  config.norm_epsilon = metadata.required_number("attention.layer_norm_epsilon");
  config.gated_mlp = false;
  config.activation = activation;
}

void set_rms_norm(const GgufMetadata& metadata, DecoderConfig& config) {
  config.norm_epsilon = metadata.required_number("attention.layer_norm_rms_epsilon");
}

std::vector<LayerFacts> plain_layers(const DecoderConfig& config) {
  return std::vector<LayerFacts>(static_cast<size_t>(config.num_layers));
}

// Which layers slide: a list of flags, or every `pattern`th layer sees everything.
std::vector<bool> sliding_by_metadata(const GgufMetadata& metadata, int64_t pattern,
                                      int64_t num_layers) {
  constexpr const char* kKey = "attention.sliding_window_pattern";
  const auto said = metadata.integers(kKey);
  std::vector<bool> sliding;
  const bool is_list = said && std::ssize(*said) > 1;
  if (is_list && std::ssize(*said) != num_layers) {
    metadata.file().fail(fmt::format("{} lists {} layers of {}", kKey, said->size(), num_layers));
  }
  if (said && !is_list && !said->empty() && num_layers > 1) pattern = (*said)[0];
  if (pattern < 0) metadata.file().fail(fmt::format("{} is {}", kKey, pattern));
  for (int64_t i = 0; i < num_layers; ++i) {
    sliding.push_back(is_list ? (*said)[static_cast<size_t>(i)] != 0
                              : pattern == 0 || i % pattern < pattern - 1);
  }
  return sliding;
}

// A window as wide as the context is none.
void set_sliding(int64_t window, const std::vector<bool>& sliding, LayerRope rope,
                 DecoderConfig& config) {
  config.layers = plain_layers(config);
  for (size_t i = 0; i < sliding.size(); ++i) {
    if (!sliding[i]) continue;
    config.layers[i].window = window >= config.max_positions ? 0 : window;
    config.layers[i].rope = rope;
  }
}

void set_gemma_outline(const GgufMetadata& metadata, DecoderConfig& config) {
  set_rms_norm(metadata, config);
  config.norm_offset = 1.0;
  config.embedding_scale = std::sqrt(static_cast<double>(config.hidden_size));
  config.activation = Activation::gelu_tanh;
}

// The two largest ones divide by the share of a head in the hidden size.
void set_gemma_scale(int64_t layers_of_largest, DecoderConfig& config) {
  const auto width = static_cast<double>(config.num_layers == layers_of_largest
                                             ? config.hidden_size / config.num_heads
                                             : config.head_dim);
  config.attention_scale = 1.0 / std::sqrt(width);
}

void require_whole_rotation(const GgufMetadata& metadata, const DecoderConfig& config) {
  if (config.rope.rotary_dim == config.head_dim) return;
  metadata.file().fail(fmt::format("rotating {} of a head's {} entries is not supported",
                                   config.rope.rotary_dim, config.head_dim));
}

}  // namespace

void read_gguf_llama(const GgufMetadata& metadata, DecoderConfig& config) {
  set_rms_norm(metadata, config);
  require_whole_rotation(metadata, config);
  const int64_t window = metadata.integer("attention.sliding_window").value_or(0);
  if (window != 0 && window < config.max_positions) {
    metadata.file().fail(
        fmt::format("sliding-window attention ({} of {} positions) is not supported for this "
                    "architecture",
                    window, config.max_positions));
  }
}

void read_gguf_smollm3(const GgufMetadata& metadata, DecoderConfig& config) {
  constexpr int64_t kUnrotated = 4;
  set_rms_norm(metadata, config);
  require_whole_rotation(metadata, config);
  config.layers = plain_layers(config);
  for (int64_t i = kUnrotated - 1; i < config.num_layers; i += kUnrotated) {
    config.layers[static_cast<size_t>(i)].rope = LayerRope::none;
  }
}

void read_gguf_qwen3(const GgufMetadata& metadata, DecoderConfig& config) {
  set_rms_norm(metadata, config);
  require_whole_rotation(metadata, config);
  config.qk_norm = QkNorm::per_head;
}

void read_gguf_olmo2(const GgufMetadata& metadata, DecoderConfig& config) {
  set_rms_norm(metadata, config);
  require_whole_rotation(metadata, config);
  config.qk_norm = QkNorm::whole;
  config.norm_placement = NormPlacement::behind;
}

void read_gguf_granite(const GgufMetadata& metadata, DecoderConfig& config) {
  set_rms_norm(metadata, config);
  require_whole_rotation(metadata, config);
  // Zero stands for "not said", as in llama.cpp.
  const auto said = [&](const char* name, double otherwise) {
    const double value = metadata.number(name).value_or(0.0);
    return value == 0.0 ? otherwise : value;
  };
  config.logit_scale = 1.0 / metadata.required_number("logit_scale");
  config.residual_scale = said("residual_scale", 1.0);
  config.embedding_scale = said("embedding_scale", 1.0);
  config.attention_scale = said("attention.scale", 0.0);
  if (metadata.integer("rope.scaling.finetuned").value_or(1) == 0) {
    metadata.file().fail(
        "'granite.rope.scaling.finetuned' is false: no rotation, which is not "
        "supported");
  }
}

void read_gguf_gemma(const GgufMetadata& metadata, DecoderConfig& config) {
  set_gemma_outline(metadata, config);
  require_whole_rotation(metadata, config);
}

void read_gguf_gemma2(const GgufMetadata& metadata, DecoderConfig& config) {
  constexpr int64_t kWindow = 4096, kPattern = 2, kLayersOfLargest = 46;
  set_gemma_outline(metadata, config);
  require_whole_rotation(metadata, config);
  set_gemma_scale(kLayersOfLargest, config);
  config.norm_placement = NormPlacement::both;
  config.attention_softcap = metadata.number("attn_logit_softcapping").value_or(50.0);
  config.logit_softcap = metadata.number("final_logit_softcapping").value_or(30.0);
  if (metadata.number("rope.freq_base_swa").value_or(config.rope.theta) != config.rope.theta) {
    metadata.file().fail("'gemma2.rope.freq_base_swa' other than rope.freq_base is not supported");
  }
  const int64_t window = metadata.integer("attention.sliding_window").value_or(kWindow);
  set_sliding(window, sliding_by_metadata(metadata, kPattern, config.num_layers), LayerRope::global,
              config);
}

void read_gguf_gemma3(const GgufMetadata& metadata, DecoderConfig& config) {
  constexpr int64_t kPattern = 6, kLayersOfLargest = 62;
  constexpr double kLocalTheta = 10000.0;
  set_gemma_outline(metadata, config);
  require_whole_rotation(metadata, config);
  set_gemma_scale(kLayersOfLargest, config);
  config.norm_placement = NormPlacement::both;
  config.qk_norm = QkNorm::per_head;
  config.logit_softcap = metadata.number("final_logit_softcapping").value_or(0.0);
  const int64_t window = metadata.integer("attention.sliding_window").value_or(0);
  const double theta = metadata.number("rope.freq_base_swa").value_or(kLocalTheta);
  const auto sliding = sliding_by_metadata(metadata, kPattern, config.num_layers);
  if (window <= 0) return;
  config.local_rope = RopeConfig{.theta = theta, .rotary_dim = config.head_dim};
  set_sliding(window, sliding, LayerRope::local, config);
}

void read_gguf_phi2(const GgufMetadata& metadata, DecoderConfig& config) {
  set_layer_norm(metadata, Activation::gelu_tanh, config);
  config.parallel_residual = true;
  config.shared_norm = true;
}

void read_gguf_phi3(const GgufMetadata& metadata, DecoderConfig& config) {
  set_rms_norm(metadata, config);
  config.qkv_layout = QkvLayout::stacked;
  config.fused_gate_up = true;
  // The model's window; llama.cpp leaves it out (a warning of its says so).
  const int64_t window = metadata.integer("attention.sliding_window").value_or(0);
  if (window > 0) {
    set_sliding(window, std::vector<bool>(static_cast<size_t>(config.num_layers), true),
                LayerRope::global, config);
  }
}

void read_gguf_gpt2(const GgufMetadata& metadata, DecoderConfig& config) {
  set_layer_norm(metadata, Activation::gelu_tanh, config);
  config.positions = PositionKind::learned;
  config.rope = {};
  config.qkv_layout = QkvLayout::stacked;
  config.weights_transposed = true;  // in Hugging Face's files
}

void read_gguf_gptneox(const GgufMetadata& metadata, DecoderConfig& config) {
  // The models' own activation; llama.cpp takes its approximation by tanh.
  set_layer_norm(metadata, Activation::gelu, config);
  config.qkv_layout = QkvLayout::grouped;
  config.parallel_residual = metadata.required("use_parallel_residual") != 0;
}

void read_gguf_falcon(const GgufMetadata& metadata, DecoderConfig& config) {
  set_layer_norm(metadata, Activation::gelu, config);
  require_whole_rotation(metadata, config);
  if (metadata.text("tensor_data_layout").value_or("") != "jploski") {
    metadata.file().fail("'falcon.tensor_data_layout' other than 'jploski' is not supported");
  }
  config.qkv_layout = QkvLayout::grouped;
  config.parallel_residual = true;
  config.shared_norm = !metadata.file().contains("blk.0.attn_norm_2.weight");
}

void read_gguf_bloom(const GgufMetadata& metadata, DecoderConfig& config) {
  set_layer_norm(metadata, Activation::gelu_tanh, config);
  config.positions = PositionKind::alibi;
  config.rope = {};
  config.qkv_layout = QkvLayout::grouped;
  config.embedding_norm = true;
}

}  // namespace leash

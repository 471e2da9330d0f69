#include "tests/support/tiny_families.h"

#include "models/families/decoder_modules.h"
#include "models/lora/lora.h"
#include "models/random/random.h"
#include "tests/support/tiny_model.h"

namespace leash::testing {
namespace {

DecoderConfig base(const char* family) {
  DecoderConfig config = tiny_checkpoint().config;
  config.family = family;
  config.intermediate_size = 48;
  return config;
}

void set_layer_norms(DecoderConfig& config) {
  config.norm = NormKind::layer;
  config.norm_bias = config.qkv_bias = config.attention_output_bias = config.mlp_bias = true;
  config.gated_mlp = false;
  config.activation = Activation::gelu;
}

DecoderConfig gpt2() {
  DecoderConfig config = base("gpt2");
  set_layer_norms(config);
  config.num_kv_heads = config.num_heads;
  config.activation = Activation::gelu_tanh;
  config.positions = PositionKind::learned;
  config.qkv_layout = QkvLayout::stacked;
  config.weights_transposed = true;
  return config;
}

DecoderConfig opt() {
  DecoderConfig config = base("opt");
  set_layer_norms(config);
  config.num_kv_heads = config.num_heads;
  config.activation = Activation::relu;
  config.positions = PositionKind::learned;
  config.position_offset = 2;
  return config;
}

DecoderConfig falcon40() {
  DecoderConfig config = base("falcon");
  set_layer_norms(config);
  config.qkv_layout = QkvLayout::grouped;
  config.parallel_residual = true;
  config.qkv_bias = config.attention_output_bias = config.mlp_bias = false;
  return config;
}

DecoderConfig bloom() {
  DecoderConfig config = base("bloom");
  set_layer_norms(config);
  config.num_kv_heads = config.num_heads;
  config.qkv_layout = QkvLayout::grouped;
  config.embedding_norm = true;
  config.positions = PositionKind::alibi;
  return config;
}

DecoderConfig phi() {
  DecoderConfig config = base("phi");
  set_layer_norms(config);
  config.parallel_residual = config.shared_norm = config.head_bias = true;
  config.tie_word_embeddings = false;
  config.rope.rotary_dim = 4;
  return config;
}

DecoderConfig phi3() {
  DecoderConfig config = base("phi3");
  config.qkv_layout = QkvLayout::stacked;
  config.fused_gate_up = true;
  config.tie_word_embeddings = false;
  config.layers.assign(2, {.window = 5});
  return config;
}

DecoderConfig gemma() {
  DecoderConfig config = base("gemma3_text");
  config.norm_placement = NormPlacement::both;
  config.norm_offset = 1.0;
  config.qk_norm = QkNorm::per_head;
  config.activation = Activation::gelu_tanh;
  config.embedding_scale = 5.65;
  config.attention_scale = 0.3;
  config.attention_softcap = 2.0;
  config.logit_softcap = 3.0;
  config.local_rope = config.rope;
  config.local_rope->theta = 100.0;
  config.layers = {{.window = 4, .rope = LayerRope::local}, {}};
  return config;
}

DecoderConfig olmo2() {
  DecoderConfig config = base("olmo2");
  config.norm_placement = NormPlacement::behind;
  config.qk_norm = QkNorm::whole;
  return config;
}

DecoderConfig granite() {
  DecoderConfig config = base("granite");
  config.embedding_scale = 3.0;
  config.residual_scale = 0.4;
  config.attention_scale = 0.21;
  config.logit_scale = 0.4;
  config.layers = {{}, {.rope = LayerRope::none}};
  return config;
}

}  // namespace

Checkpoint random_checkpoint(const DecoderConfig& config, uint64_t seed) {
  auto source = std::make_shared<MemoryTensors>();
  uint64_t index = 0;
  const auto add = [&](const std::string& name, const std::vector<int64_t>& shape, double mean,
                       double deviation) {
    source->tensors[name] =
        normal_tensor(DrawKey{seed, Purpose::noise, ++index}, shape, mean, deviation)
            .to(at::kDouble);
  };
  for (const ModuleInfo& module : decoder_modules(config)) {
    if (module.role == ModuleRole::lm_head && config.tie_word_embeddings) continue;
    const bool norm = module.kind == ModuleKind::norm;
    add(module.path + ".weight", weight_shape(module), norm ? 1.0 - config.norm_offset : 0.0,
        norm ? 0.1 : 0.2);
    if (module.has_bias) add(module.path + ".bias", bias_shape(module), 0.0, 0.2);
  }
  return {.path = "tiny", .config = config, .tensors = source};
}

std::vector<TinyFamily> tiny_families() {
  std::vector<TinyFamily> families;
  for (const DecoderConfig& config : {base("llama"), gpt2(), opt(), falcon40(), bloom(), phi(),
                                      phi3(), gemma(), olmo2(), granite()}) {
    families.push_back({.name = config.family, .checkpoint = random_checkpoint(config)});
  }
  return families;
}

}  // namespace leash::testing

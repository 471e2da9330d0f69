#include "tests/support/tiny_model.h"

#include <ATen/ops/ones.h>
#include <fmt/format.h>

#include "models/errors.h"
#include "models/random/random.h"

namespace leash::testing {

std::vector<std::string> MemoryTensors::names() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  return names;
}
bool MemoryTensors::contains(std::string_view name) const { return tensors.contains(name); }
std::vector<int64_t> MemoryTensors::shape(std::string_view name) const {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw FormatError("no tensor " + std::string(name));
  return found->second.sizes().vec();
}
at::Tensor MemoryTensors::read(std::string_view name, at::ScalarType dtype) const {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw FormatError("no tensor " + std::string(name));
  return found->second.to(dtype);
}

Checkpoint tiny_checkpoint(const TinyOptions& options) {
  DecoderConfig config;
  config.family = "llama";
  config.vocab_size = options.vocab_size;
  config.hidden_size = options.hidden_size;
  config.intermediate_size = 2 * options.hidden_size;
  config.num_layers = options.num_layers;
  config.num_heads = options.num_heads;
  config.num_kv_heads = options.num_kv_heads;
  config.head_dim = options.head_dim;
  config.max_positions = options.max_positions;
  config.rope.rotary_dim = options.head_dim;
  config.qkv_bias = options.qkv_bias;
  config.tie_word_embeddings = options.tie_word_embeddings;
  config.eos_token_ids = {2};
  config.num_labels = options.num_labels;

  auto source = std::make_shared<MemoryTensors>();
  uint64_t index = 0;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape, double mean,
                       double stddev) {
    source->tensors[name] =
        normal_tensor(DrawKey{options.seed, Purpose::noise, ++index}, shape, mean, stddev)
            .to(at::kDouble);
  };
  const int64_t hidden = options.hidden_size;
  const int64_t queries = options.num_heads * options.head_dim;
  const int64_t keys = options.num_kv_heads * options.head_dim;
  // Logits with a standard deviation of about 3, as a trained model has: nearly deterministic texts
  // would hide what sampling does, and log-probs of -30 carry rounding of their own.
  add("model.embed_tokens.weight", {options.vocab_size, hidden}, 0, 0.5);
  if (!options.tie_word_embeddings)
    add("lm_head.weight", {options.vocab_size, hidden}, 0, options.scale);
  add("model.norm.weight", {hidden}, 1, 0.1);
  for (int64_t layer = 0; layer < options.num_layers; ++layer) {
    const std::string prefix = fmt::format("model.layers.{}.", layer);
    add(prefix + "input_layernorm.weight", {hidden}, 1, 0.1);
    add(prefix + "post_attention_layernorm.weight", {hidden}, 1, 0.1);
    for (const auto& [name, out, in] : std::vector<std::tuple<std::string, int64_t, int64_t>>{
             {"self_attn.q_proj", queries, hidden},
             {"self_attn.k_proj", keys, hidden},
             {"self_attn.v_proj", keys, hidden},
             {"self_attn.o_proj", hidden, queries},
             {"mlp.gate_proj", config.intermediate_size, hidden},
             {"mlp.up_proj", config.intermediate_size, hidden},
             {"mlp.down_proj", hidden, config.intermediate_size}}) {
      add(prefix + name + ".weight", {out, in}, 0, options.scale);
      const bool is_qkv =
          name.ends_with("q_proj") || name.ends_with("k_proj") || name.ends_with("v_proj");
      if (options.qkv_bias && is_qkv) add(prefix + name + ".bias", {out}, 0, options.scale);
    }
  }
  if (options.num_labels > 0) add("score.weight", {options.num_labels, hidden}, 0, options.scale);
  return {.path = "tiny", .config = config, .tensors = source};
}

std::shared_ptr<const Decoder> tiny_decoder(at::ScalarType dtype, const TinyOptions& options) {
  return Decoder::load(tiny_checkpoint(options), dtype);
}

Adapter tiny_adapter(const Decoder& decoder, uint64_t seed, double scale, LoraConfig config) {
  Adapter adapter = Adapter::create(config, decoder.modules(), seed).to(decoder.dtype());
  for (size_t module = 0; module < decoder.modules().size(); ++module) {
    const LoraWeights* weights = adapter.lora(static_cast<int64_t>(module));
    if (weights == nullptr) continue;
    weights->b.detach().copy_(
        normal_tensor(DrawKey{seed, Purpose::noise, module, 1}, weights->b.sizes(), 0, scale));
  }
  return adapter;
}

}  // namespace leash::testing

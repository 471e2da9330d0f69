// Whether a file that was written says what it was made of.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "models/export/hf_config.h"
#include "models/io/gguf_rope.h"

namespace leash {
namespace {

// Files keep 32 bits.
bool same_number(double a, double b) {
  constexpr double kPrecision = 1e-6;
  return std::abs(a - b) <= kPrecision * std::max(std::abs(a), std::abs(b));
}

// What frequencies are divided by, where that is all there is to a scaling: a GGUF keeps Llama 3's
// as a list.
std::vector<double> divisors_of(const RopeConfig& rope) {
  if (rope.scaling == RopeScaling::llama3) return llama3_divisors(rope);
  if (rope.scaling == RopeScaling::longrope && rope.attention_factor == 1) return rope.factors;
  return {};
}

bool same_rope(const RopeConfig& a, const RopeConfig& b) {
  const std::vector<double> ours = divisors_of(a), theirs = divisors_of(b);
  if (!ours.empty() && a.scaling != b.scaling) {
    return a.rotary_dim == b.rotary_dim && same_number(a.theta, b.theta) &&
           std::ranges::equal(ours, theirs, same_number);
  }
  if (a.scaling != b.scaling || a.rotary_dim != b.rotary_dim || !same_number(a.theta, b.theta)) {
    return false;
  }
  const bool yarn = a.scaling == RopeScaling::yarn, llama3 = a.scaling == RopeScaling::llama3;
  const bool factors =
      a.factors.size() == b.factors.size() &&
      std::equal(a.factors.begin(), a.factors.end(), b.factors.begin(), same_number);
  return same_number(a.factor, b.factor) && factors &&
         same_number(a.attention_factor, b.attention_factor) &&
         (a.original_max_positions == b.original_max_positions || (!yarn && !llama3)) &&
         (!llama3 || (same_number(a.low_freq_factor, b.low_freq_factor) &&
                      same_number(a.high_freq_factor, b.high_freq_factor))) &&
         (!yarn || (same_number(a.beta_fast, b.beta_fast) &&
                    same_number(a.beta_slow, b.beta_slow) && a.truncate == b.truncate));
}

bool same_rope(const std::optional<RopeConfig>& a, const std::optional<RopeConfig>& b) {
  return a.has_value() == b.has_value() && (!a || same_rope(*a, *b));
}

// An empty list stands for layers without anything special.
std::vector<LayerFacts> all_layers(const DecoderConfig& config) {
  return config.layers.empty() ? std::vector<LayerFacts>(static_cast<size_t>(config.num_layers))
                               : config.layers;
}

double attention_scale(const DecoderConfig& config) {
  return config.attention_scale != 0 ? config.attention_scale
                                     : 1 / std::sqrt(static_cast<double>(config.head_dim));
}

}  // namespace

std::optional<std::string> different_fact(const DecoderConfig& a, const DecoderConfig& b) {
  const struct {
    const char* name;
    bool same;
  } facts[] = {
      {"vocab_size", a.vocab_size == b.vocab_size},
      {"hidden_size", a.hidden_size == b.hidden_size},
      {"intermediate_size", a.intermediate_size == b.intermediate_size},
      {"num_layers", a.num_layers == b.num_layers},
      {"num_heads", a.num_heads == b.num_heads},
      {"num_kv_heads", a.num_kv_heads == b.num_kv_heads},
      {"head_dim", a.head_dim == b.head_dim},
      {"max_positions", a.max_positions == b.max_positions},
      {"norm", a.norm == b.norm && a.norm_bias == b.norm_bias},
      {"norm_epsilon", same_number(a.norm_epsilon, b.norm_epsilon)},
      {"activation", a.activation == b.activation && a.gated_mlp == b.gated_mlp},
      {"positions", a.positions == b.positions && a.position_offset == b.position_offset},
      {"rope", a.positions != PositionKind::rotary || same_rope(a.rope, b.rope)},
      {"local_rope", same_rope(a.local_rope, b.local_rope)},
      {"layers (windows, rotations)", all_layers(a) == all_layers(b)},
      {"qkv_layout", a.qkv_layout == b.qkv_layout && a.fused_gate_up == b.fused_gate_up},
      {"qk_norm", a.qk_norm == b.qk_norm},
      {"norm_placement", a.norm_placement == b.norm_placement && a.norm_offset == b.norm_offset},
      {"parallel_residual",
       a.parallel_residual == b.parallel_residual && a.shared_norm == b.shared_norm},
      {"embedding_norm", a.embedding_norm == b.embedding_norm},
      {"embedding_scale", same_number(a.embedding_scale, b.embedding_scale)},
      {"residual_scale", same_number(a.residual_scale, b.residual_scale)},
      {"attention_scale", same_number(attention_scale(a), attention_scale(b))},
      {"attention_softcap", same_number(a.attention_softcap, b.attention_softcap)},
      {"logit_scale", same_number(a.logit_scale, b.logit_scale)},
      {"logit_softcap", same_number(a.logit_softcap, b.logit_softcap)},
      {"biases", a.qkv_bias == b.qkv_bias && a.mlp_bias == b.mlp_bias &&
                     a.attention_output_bias == b.attention_output_bias &&
                     a.head_bias == b.head_bias},
      {"tie_word_embeddings", a.tie_word_embeddings == b.tie_word_embeddings},
      {"num_labels", a.num_labels == b.num_labels}};
  for (const auto& fact : facts) {
    if (!fact.same) return fact.name;
  }
  return std::nullopt;
}

}  // namespace leash

// What a decoder is made of: one value struct for every family. families.h maps config.json to it,
// io/gguf_config.h GGUF metadata; the decoder reads these facts and never asks for a family's name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace leash {

enum class NormKind { rms, layer };
enum class Activation { silu, gelu, gelu_tanh, relu };

// Scaling of rotary frequencies (transformers' `rope_scaling`, modeling_rope_utils.py). dynamic and
// longrope hold up to the original length, which is then the context (max_positions).
enum class RopeScaling { none, linear, llama3, yarn, dynamic, longrope };

struct RopeConfig {
  double theta = 10000.0;
  int64_t rotary_dim = 0;  // how many of head_dim's entries are rotated (all of them for Llama)
  RopeScaling scaling = RopeScaling::none;
  double factor = 1.0;
  double low_freq_factor = 1.0;           // llama3 only
  double high_freq_factor = 4.0;          // llama3 only
  int64_t original_max_positions = 8192;  // llama3, yarn, dynamic and longrope
  double beta_fast = 32.0;                // yarn only
  double beta_slow = 1.0;                 // yarn only
  bool truncate = true;                   // yarn only: the correction range is whole numbers
  double attention_factor = 1.0;          // yarn, longrope: cosines and sines are multiplied by it
  std::vector<double>
      factors;  // longrope: the short ones, [rotary_dim / 2]; frequencies are divided

  bool operator==(const RopeConfig&) const = default;
};

// Which rotation the heads of a layer get.
enum class LayerRope { global, local, none };

// What differs from layer to layer.
struct LayerFacts {
  int64_t window = 0;  // a row sees itself and window - 1 rows before it; 0: all before it
  LayerRope rope = LayerRope::global;

  bool operator==(const LayerFacts&) const = default;
};

// How a row knows its place.
enum class PositionKind { rotary, learned, alibi };

// How the rows of the projection onto queries, keys and values lie in its file and in memory.
enum class QkvLayout {
  separate,  // three modules: q_proj, k_proj, v_proj
  stacked,   // one module: all queries, all keys, all values (Phi-3, GPT-2)
  grouped    // one module: for each key head its queries, its key, its value (GPT-NeoX, BLOOM,
             // Falcon)
};

// Where a block normalises: before attention and MLP, behind them, or both (Gemma 2 and 3).
enum class NormPlacement { before, behind, both };

// Normalised queries and keys, before the rotation: not at all, each head with one weight
// [head_dim] (Qwen3, Gemma 3), or all heads as one row (OLMo 2).
enum class QkNorm { none, per_head, whole };

struct DecoderConfig {
  std::string family;  // config.json's model_type, for messages and export only
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_positions = 0;  // the context: prompt and answer together

  NormKind norm = NormKind::rms;
  double norm_epsilon = 1e-5;
  Activation activation = Activation::silu;
  bool gated_mlp = true;
  RopeConfig rope;
  std::optional<RopeConfig> local_rope;  // Gemma 3: of layers with LayerRope::local
  std::vector<LayerFacts> layers;        // [num_layers]; empty: no windows, all rotated alike
  PositionKind positions = PositionKind::rotary;
  int64_t position_offset = 0;  // learned: row of position 0 (OPT: 2)
  // ALiBi: the bias, slope · key position, is rounded to bfloat16 and scaled with q kᵀ (Falcon).
  bool alibi_in_bfloat16 = false;
  QkvLayout qkv_layout = QkvLayout::separate;
  bool fused_gate_up = false;       // one module: all gates, all ups (Phi-3)
  bool weights_transposed = false;  // linear weights are [in, out] in the file (GPT-2's Conv1D)
  QkNorm qk_norm = QkNorm::none;
  NormPlacement norm_placement = NormPlacement::before;
  bool norm_bias = false;
  double norm_offset = 0.0;        // added to every norm's weight (Gemma: 1)
  bool parallel_residual = false;  // x + attention(norm(x)) + mlp(norm'(x))
  bool shared_norm = false;        // parallel_residual: norm' is norm (Falcon 7B, Phi)
  bool embedding_norm = false;     // BLOOM
  double embedding_scale = 1.0;    // Gemma: sqrt(hidden_size), rounded to the type of the model
  double residual_scale = 1.0;     // of what attention and MLP add (Granite)
  double attention_scale = 0.0;    // of q kᵀ; 0: 1 / sqrt(head_dim)
  double attention_softcap = 0.0;  // cap · tanh(score / cap) before the mask; 0: none
  double logit_scale = 1.0;        // Granite: 1 / logits_scaling
  double logit_softcap = 0.0;      // cap · tanh(logit / cap); 0: none
  bool head_bias = false;          // lm_head has a bias (Phi)
  bool qkv_bias = false;
  bool attention_output_bias = false;
  bool mlp_bias = false;
  bool tie_word_embeddings = false;
  double initializer_range = 0.02;  // standard deviation of a fresh head's weights

  std::optional<int64_t> bos_token_id;
  std::vector<int64_t> eos_token_ids;
  std::optional<int64_t> pad_token_id;
  int64_t num_labels = 0;  // of a sequence-classification checkpoint; 0 for a language model

  bool operator==(const DecoderConfig&) const = default;
};

// Checks that the sizes fit each other and are sane. Throws FormatError naming `origin`.
void check(const DecoderConfig& config, const std::string& origin);

}  // namespace leash

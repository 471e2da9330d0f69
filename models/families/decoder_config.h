// What a decoder is made of: one value struct for every family. families.cpp maps config.json and
// GGUF metadata to it; the decoder reads these facts and never asks for a family's name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace leash {

enum class NormKind { rms, layer };
enum class Activation { silu, gelu, gelu_tanh, relu };

// Scaling of rotary frequencies (transformers' `rope_scaling`).
enum class RopeScaling { none, linear, llama3 };

struct RopeConfig {
  double theta = 10000.0;
  int64_t rotary_dim = 0;  // how many of head_dim's entries are rotated (all of them for Llama)
  RopeScaling scaling = RopeScaling::none;
  double factor = 1.0;
  double low_freq_factor = 1.0;           // llama3 only
  double high_freq_factor = 4.0;          // llama3 only
  int64_t original_max_positions = 8192;  // llama3 only

  bool operator==(const RopeConfig&) const = default;
};

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

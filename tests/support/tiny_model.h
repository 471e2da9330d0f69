// A random two-layer Llama that exists in memory alone, for tests that need a decoder and no files.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "models/decoder/decoder.h"
#include "models/io/checkpoint.h"

namespace leash::testing {

// Tensors in memory under Hugging Face names.
class MemoryTensors final : public TensorSource {
 public:
  std::map<std::string, at::Tensor, std::less<>> tensors;

  std::vector<std::string> names() const override;
  bool contains(std::string_view name) const override;
  std::vector<int64_t> shape(std::string_view name) const override;
  at::Tensor read(std::string_view name, at::ScalarType dtype) const override;
  std::string origin() const override { return "memory"; }
};

struct TinyOptions {
  int64_t num_layers = 2;
  int64_t hidden_size = 32;
  int64_t num_heads = 4;
  int64_t num_kv_heads = 2;
  int64_t head_dim = 8;
  int64_t vocab_size = 96;
  int64_t max_positions = 64;
  bool tie_word_embeddings = true;
  bool qkv_bias = false;
  int64_t num_labels = 0;
  uint64_t seed = 7;
  double scale = 0.2;  // standard deviation of the weights
};

Checkpoint tiny_checkpoint(const TinyOptions& options = {});
std::shared_ptr<const Decoder> tiny_decoder(at::ScalarType dtype = at::kFloat,
                                            const TinyOptions& options = {});

// An adapter on q, k, v, o, gate, up and down whose B is not zero, so that it changes what the base
// says.
Adapter tiny_adapter(const Decoder& decoder, uint64_t seed = 3, double scale = 0.3,
                     LoraConfig config = {.r = 4, .lora_alpha = 8, .target_modules = "all-linear"});

// Texts of its ids, of unequal lengths.
inline const std::vector<std::vector<int64_t>> kTinyTexts = {
    {5, 9, 1, 77, 3}, {42}, {8, 8, 8, 90, 11, 2, 0}};

}  // namespace leash::testing

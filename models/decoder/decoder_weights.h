// The frozen weights of a decoder and the modules that an adapter may address, as they come off a
// checkpoint.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/decoder/load_weight.h"
#include "models/io/checkpoint.h"
#include "models/lora/adapted_linear.h"
#include "models/lora/base_identity.h"
#include "models/vocabulary/vocabulary_head.h"
#include "models/weights/weight_source.h"

namespace leash {

class GatherQueue;

struct NormWeight {
  at::Tensor weight;  // [width]; undefined: the family has no such norm
  at::Tensor bias;    // [width], undefined where it has none
  int64_t module = -1;

  bool there() const { return weight.defined(); }
};

// One transformer block. Which norms there are follows from the facts.
struct BlockWeights {
  NormWeight input_norm, mlp_norm;
  NormWeight attention_post_norm, mlp_post_norm;
  NormWeight query_norm, key_norm;
  LinearGroup qkv;  // rows of a fused module as Hugging Face has them (QkvLayout)
  LinearGroup attention_output;
  LinearGroup gate_up;  // of a plain MLP: its one projection
  LinearGroup down;
  std::vector<int64_t> modules;  // indices of everything above
};

struct DecoderWeights {
  std::vector<ModuleInfo> modules;
  BaseIdentity identity;
  int64_t num_parameters = 0;
  std::shared_ptr<const WeightSource> embedding;  // [vocab, hidden]
  int64_t embedding_module = 0;
  std::shared_ptr<const WeightSource> positions;  // [positions, hidden]; nullptr: none are learned
  int64_t positions_module = -1;
  NormWeight embedding_norm;
  std::vector<BlockWeights> blocks;
  NormWeight final_norm;
  VocabularyHead head;  // the embedding's own weight where they are tied

  // The groups of a block's products, in the order of computation.
  static std::vector<const LinearGroup*> groups(const BlockWeights& block);
  // The norms that a block has.
  static std::vector<const NormWeight*> norms(const BlockWeights& block);
  // A copy of a module's weight or bias, [out, in], [out] or [width].
  at::Tensor value(int64_t module, bool bias) const;
  int64_t bytes() const;
  // A hash of every number, to show that nothing changed.
  std::string digest() const;
};

// The type of norm weights in a decoder of `dtype`: fp32 over a quantised bf16 base, as PEFT
// prepares a model for k-bit training.
at::ScalarType norm_dtype(at::ScalarType dtype, Quantize quantize);

// Throws FormatError where a tensor is missing or has another shape than the configuration says,
// ConfigError where `quantize` cannot be had.
// With `options.gathers`, each block's matrices are a unit of it, so are the embedding and a head
// of its own; norms, biases and learned positions, thousandths of the whole, stay with every rank.
DecoderWeights load_decoder_weights(const Checkpoint& checkpoint, const LoadOptions& options);

}  // namespace leash

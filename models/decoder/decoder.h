// The decoder: tokens to hidden states to logits. One implementation for every family, for training
// and for generation.
//
// It is const and shared: roles (policy, reference, critic, reward) differ only in the adapter that
// is handed to forward, and every call owns its scratch, so that lanes may run it at the same time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/attention/attention_cache.h"
#include "models/decoder/packed_tokens.h"
#include "models/families/decoder_config.h"
#include "models/families/model_config.h"
#include "models/lora/adapter_rows.h"
#include "models/lora/base_identity.h"
#include "models/lora/lora.h"
#include "models/vocabulary/cross_entropy.h"
#include "models/vocabulary/vocabulary.h"

namespace leash {

struct Checkpoint;
class GatherQueue;

// How a decoder's frozen weights are kept, and where.
struct LoadOptions {
  at::ScalarType dtype = at::kFloat;  // of matrices (activation_type(): the rest); float64: tests
  // dense; `keep`: blocks as they are in a GGUF, embedding and lm_head included (ConfigError where
  // none are quantised); nf4 and int8: quantised here, embedding and lm_head stay dense. Norms and
  // biases are always dense.
  Quantize quantize = Quantize::none;
  // 8-bit products: approximate, inference only (models/quant/byte_tiles.h), for `generate --fast`.
  // A GGUF's blocks keep their codes, embedding and lm_head are kept that way too. Not with
  // `quantize`, on the CPU only.
  bool fast = false;
  at::Device device = at::kCPU;
  // With these, this rank's part of the weights, and what is computed with them comes from all
  // ranks (all of which load the same). Dense weights only.
  std::shared_ptr<GatherQueue> gathers = nullptr;
};

// Uniform noise on the embeddings (NEFTune; Jain et al. 2023, arXiv:2310.05914), in training only.
struct EmbeddingNoise {
  uint64_t seed = 0;
  uint64_t step = 0;
  std::vector<uint64_t> samples;   // one id per sequence of the packed batch
  std::vector<double> magnitudes;  // likewise: noise is uniform in [-magnitude, magnitude)
};

struct ForwardOptions {
  AttentionCache* cache =
      nullptr;  // keys and values of earlier positions; none: sequences are whole
  const DropoutKey* dropout = nullptr;
  const EmbeddingNoise* noise = nullptr;
  bool recompute_blocks =
      false;  // gradient checkpointing: blocks are computed again in the backward pass
};

class Decoder {
 public:
  // Loads the frozen weights.
  static std::shared_ptr<const Decoder> load(const Checkpoint& checkpoint,
                                             const LoadOptions& options);
  // The same on the CPU.
  static std::shared_ptr<const Decoder> load(const Checkpoint& checkpoint,
                                             at::ScalarType dtype = at::kFloat,
                                             Quantize quantize = Quantize::none);
  ~Decoder();

  const DecoderConfig& config() const;
  // Of hidden states, keys and values, and of the matrices.
  at::ScalarType dtype() const;
  at::ScalarType weight_dtype() const;
  // Where weights and hidden states are; adapters and heads have to be there too.
  at::Device device() const;
  // All modules that an adapter may address, in a fixed order. The last one is "lm_head" where it
  // is not tied.
  const std::vector<ModuleInfo>& modules() const;
  int64_t num_parameters() const;
  // What its adapters say about their base.
  const BaseIdentity& identity() const;
  // Memory of all frozen weights; of this rank's part where they are sharded.
  int64_t weight_bytes() const;
  // True if weights are sharded: gathered on demand by a background thread, at a new address each
  // time.
  bool sharded() const;
  // A copy of a module's frozen weight or bias: where trained copies start (Adapter::create's
  // BaseValues), and what is merged on export.
  at::Tensor base_value(int64_t module, bool bias) const;

  // Hidden states after the final norm, [tokens, hidden]. Differentiable in the adapters' tensors.
  at::Tensor forward(const PackedTokens& tokens, const AdapterRows& adapters = {},
                     const ForwardOptions& options = {}) const;

  // Logits of some rows, [rows, vocab], in fp32 or wider. `adapters` matters where one addresses
  // lm_head or the embedding.
  at::Tensor logits(const at::Tensor& hidden /* [rows, hidden] */,
                    const AdapterRows& adapters = {}) const;

  // log_softmax(logits / temperature) at `targets`, computed in chunks of rows so that [rows,
  // vocab] is never kept; the backward pass computes each chunk again. Returns fp32 (fp64 for a
  // float64 decoder) [rows].
  TokenScores token_scores(const at::Tensor& hidden /* [rows, hidden] */,
                           const at::Tensor& targets /* [rows] int64, here or on the CPU */,
                           double temperature = 1.0, const AdapterRows& adapters = {}) const;

  // What supervised training needs of the same log-probs at temperature 1, in one pass over the
  // chunks that computes the gradient with the loss, so that no logits are computed twice:
  //   loss = Σ_rows -((1 - ε) log p[target] + ε mean_v log p[v]) / normalizer,  ε = label_smoothing
  CrossEntropy cross_entropy(const at::Tensor& hidden /* [rows, hidden] */,
                             const at::Tensor& targets /* [rows] int64, here or on the CPU */,
                             double label_smoothing, double normalizer,
                             const AdapterRows& adapters = {}) const;

  // Exact KL(p ‖ q) over the vocabulary per row, in chunks, p from `hidden` with `adapters`, q from
  // the other pair. [rows]
  at::Tensor exact_kl(const at::Tensor& hidden, const AdapterRows& adapters,
                      const at::Tensor& reference_hidden, const AdapterRows& reference_adapters,
                      double temperature = 1.0) const;

  // The same against another model's hidden states and head (a reference with weights of its own).
  at::Tensor exact_kl(const at::Tensor& hidden, const AdapterRows& adapters,
                      const Decoder& reference, const at::Tensor& reference_hidden,
                      const AdapterRows& reference_adapters, double temperature = 1.0) const;

  // Entropies, and with a reference exact KL, as differentiable terms of a loss; see
  // models/vocabulary/distribution_terms.h. [1 or 2, rows]
  struct ReferenceStates {
    const Decoder& decoder;
    at::Tensor hidden;  // [rows, hidden]
    AdapterRows adapters = {};
  };
  at::Tensor distribution_terms(const at::Tensor& hidden /* [rows, hidden] */,
                                const AdapterRows& adapters,
                                const std::optional<ReferenceStates>& reference = std::nullopt,
                                double temperature = 1.0) const;

  // A digest of all frozen weights, for the test that a run leaves them alone.
  std::string weights_digest() const;

 private:
  struct State;
  explicit Decoder(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace leash

// The arithmetic of a supervised step: gradients of one batch in micro-batches, and the same sums
// on held-out data.
#pragma once

#include <cstdint>
#include <span>

#include "models/decoder/decoder.h"
#include "rl/data/sft_data.h"
#include "rl/distributed/communicator.h"
#include "rl/sft/config.h"
#include "rl/statistics/metrics.h"
#include "rl/training/parts.h"

namespace leash {

using SftModel = TrainedModel;
// With `gathers`, the frozen base is sharded between the ranks.
SftModel load_sft_model(const SftSetup& setup,
                        const std::shared_ptr<GatherQueue>& gathers = nullptr);

// Sums over trained tokens.
struct SftSums {
  double loss = 0;  // already divided by the tokens of the whole batch; label smoothing included
  double nll = 0;   // -log p, nats
  int64_t tokens = 0;
  int64_t correct = 0;  // tokens that were the likeliest
  int64_t rows = 0;     // tokens that went through the decoder

  void add(const SftSums& other);
};

using SampleRefs = std::span<const SftSample* const>;

// Gradients of one optimizer step's samples in micro-batches, as .grad of the adapter's parameters
// (which have none before). The ranks split the samples by length; sums and gradients are those of
// all samples on every rank. The loss is the mean over the trained tokens of all samples together,
// so that how they are split and cut into passes changes nothing but rounding. Dropout and noise
// are keyed by (seed, step, sample). Gradients are those of `loss_scale` times the loss, which
// float16 needs (rl/optim/grad_scaler.h); the sums are without it.
SftSums accumulate_gradients(SampleRefs samples, int64_t step, const SftSetup& setup,
                             const AdaptedDecoder& model, Communicator& communicator,
                             double loss_scale = 1.0);

// No dropout, no noise, no label smoothing; split likewise. Metrics: eval/loss (mean -log p over
// trained tokens), eval/perplexity (its exponential), eval/mean_token_accuracy, eval/tokens.
SftSums held_out_sums(SampleRefs samples, int64_t micro_batch_tokens, const AdaptedDecoder& model,
                      Communicator& communicator);
Metrics held_out_metrics(const SftSums& sums);

}  // namespace leash

#include "rl/sft/update.h"

#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "models/decoder/start_adapter.h"
#include "models/device/device.h"
#include "models/weights/gather_queue.h"
#include "rl/distributed/gradient_sums.h"
#include "rl/distributed/shares.h"
#include "rollout/scoring.h"

namespace leash {
namespace {

// Samples packed end to end, and the rows whose states predict a trained token.
struct SampleBatch {
  PackedTokens tokens;
  at::Tensor rows;     // [trained tokens] packed row
  at::Tensor targets;  // [trained tokens] int64
};

SampleBatch pack_samples(SampleRefs samples) {
  std::vector<std::vector<int64_t>> sequences;
  std::vector<int64_t> rows, targets;
  int64_t offset = 0;
  for (const SftSample* sample : samples) {
    const int64_t length = sample->num_rows();  // what comes after is only ever a target
    for (int64_t token = 1; token <= length; ++token) {
      if (sample->trained[token] == 0) continue;
      rows.push_back(offset + token - 1);
      targets.push_back(sample->ids[token]);
    }
    sequences.emplace_back(sample->ids.begin(), sample->ids.begin() + length);
    offset += length;
  }
  return {.tokens = pack(sequences),
          .rows = at::tensor(rows, at::kLong),
          .targets = at::tensor(targets, at::kLong)};
}

// What is drawn for these samples in this step.
struct Draws {
  std::optional<DropoutKey> dropout;
  std::optional<EmbeddingNoise> noise;
};

Draws draws_for(SampleRefs samples, int64_t step, const SftSetup& setup, const Decoder& decoder,
                const Adapter& adapter) {
  const auto seed = static_cast<uint64_t>(setup.run.seed);
  std::vector<uint64_t> ids;
  for (const SftSample* sample : samples) ids.push_back(sample->id);
  Draws draws;
  if (adapter.config().lora_dropout > 0) {
    draws.dropout = {.seed = seed, .step = static_cast<uint64_t>(step), .samples = ids};
  }
  if (setup.sft.neftune_noise_alpha) {
    draws.noise = {.seed = seed, .step = static_cast<uint64_t>(step), .samples = ids};
    for (const SftSample* sample : samples) {
      const auto size = static_cast<double>(sample->ids.size()) *
                        static_cast<double>(decoder.config().hidden_size);
      draws.noise->magnitudes.push_back(*setup.sft.neftune_noise_alpha / std::sqrt(size));
    }
  }
  return draws;
}

SftSums run_micro_batch(SampleRefs samples, double normalizer, double label_smoothing,
                        const AdaptedDecoder& model, const ForwardOptions& options) {
  const SampleBatch batch = pack_samples(samples);
  const at::Tensor hidden = model.decoder.forward(batch.tokens, model.adapter, options);
  const auto result =
      model.decoder.cross_entropy(hidden.index_select(0, on_device(batch.rows, hidden.device())),
                                  batch.targets, label_smoothing, normalizer, model.adapter);
  if (result.loss.requires_grad()) torch::autograd::backward({result.loss}, {});
  return {.loss = result.loss.item<double>(),
          .nll = result.nll,
          .tokens = batch.targets.size(0),
          .correct = result.correct,
          .rows = batch.tokens.ids.size(0)};
}

std::vector<std::pair<int64_t, int64_t>> passes_of(SampleRefs samples, int64_t max_tokens) {
  std::vector<int64_t> lengths;
  for (const SftSample* sample : samples) lengths.push_back(sample->num_rows());
  return micro_batches(lengths, max_tokens);
}

// Reading drops samples without a trained token; a caller's own are passed over here.
std::vector<const SftSample*> with_trained_tokens(SampleRefs samples) {
  std::vector<const SftSample*> result;
  std::ranges::copy_if(samples, std::back_inserter(result),
                       [](const SftSample* sample) { return sample->num_trained() > 0; });
  return result;
}

// This rank's share, by the rows that go through the decoder.
std::vector<const SftSample*> own_samples(SampleRefs samples, const Communicator& communicator) {
  std::vector<int64_t> costs;
  for (const SftSample* sample : samples) costs.push_back(sample->num_rows());
  std::vector<const SftSample*> own;
  for (const int64_t index : own_share(costs, communicator)) own.push_back(samples[index]);
  return own;
}

double trained_tokens(SampleRefs samples) {
  int64_t tokens = 0;
  for (const SftSample* sample : samples) tokens += sample->num_trained();
  return static_cast<double>(std::max<int64_t>(tokens, 1));
}

}  // namespace

SftModel load_sft_model(const SftSetup& setup, const std::shared_ptr<GatherQueue>& gathers) {
  const Checkpoint checkpoint = open_checkpoint(resolve_model(setup.model.path));
  const at::Device device = setup.devices.device();
  const auto decoder = Decoder::load(checkpoint, {.dtype = scalar_type(setup.model.dtype, device),
                                                  .quantize = setup.model.quantize,
                                                  .device = device,
                                                  .gathers = gathers});
  return {.checkpoint = checkpoint,
          .decoder = decoder,
          .tokenizer = load_chat_tokenizer(checkpoint.path, setup.data.chat),
          .adapter = start_adapter(setup.lora, *decoder, static_cast<uint64_t>(setup.run.seed)),
          .environment = NumericEnvironment::current(checkpoint, setup.model, device,
                                                     {setup.data.train, setup.data.eval})};
}

void SftSums::add(const SftSums& other) {
  loss += other.loss;
  nll += other.nll;
  tokens += other.tokens;
  correct += other.correct;
  rows += other.rows;
}

SftSums accumulate_gradients(SampleRefs all, int64_t step, const SftSetup& setup,
                             const AdaptedDecoder& model, Communicator& communicator,
                             double loss_scale) {
  const std::vector<const SftSample*> kept = with_trained_tokens(all);
  const std::vector<const SftSample*> own = own_samples(kept, communicator);
  const SampleRefs samples = own;
  const double normalizer = trained_tokens(kept);
  GradientSums gradients(communicator, model.adapter.parameters());
  GatherScope scope(communicator.gathers().get(), GatherQueue::Keep::next);
  SftSums sums;
  for (const auto& [begin, end] : passes_of(samples, setup.sft.micro_batch_tokens)) {
    const SampleRefs part = samples.subspan(begin, end - begin);
    const Draws draws = draws_for(part, step, setup, model.decoder, model.adapter);
    const ForwardOptions options{.dropout = draws.dropout ? &*draws.dropout : nullptr,
                                 .noise = draws.noise ? &*draws.noise : nullptr,
                                 .recompute_blocks = setup.model.gradient_checkpointing};
    if (end == std::ssize(samples)) gradients.next_backward_is_last();
    // Scaled where the gradient begins: behind the head it is in the model's type already.
    sums.add(run_micro_batch(part, normalizer / loss_scale, setup.sft.label_smoothing_factor, model,
                             options));
  }
  scope.finish();
  SftSums total = gradients.finish(sums);
  total.loss /= loss_scale;
  return total;
}

SftSums held_out_sums(SampleRefs all, int64_t micro_batch_tokens, const AdaptedDecoder& model,
                      Communicator& communicator) {
  const std::vector<const SftSample*> kept = with_trained_tokens(all);
  const std::vector<const SftSample*> own = own_samples(kept, communicator);
  const SampleRefs samples = own;
  const c10::AutoGradMode no_grad(false);
  const double normalizer = trained_tokens(kept);
  GatherScope scope(communicator.gathers().get(), GatherQueue::Keep::next);
  SftSums sums;
  for (const auto& [begin, end] : passes_of(samples, micro_batch_tokens)) {
    sums.add(run_micro_batch(samples.subspan(begin, end - begin), normalizer,
                             /*label_smoothing=*/0.0, model, {}));
  }
  scope.finish();
  return sum_over_ranks(communicator, {}, sums);
}

Metrics held_out_metrics(const SftSums& sums) {
  const auto tokens = static_cast<double>(std::max<int64_t>(sums.tokens, 1));
  const double loss = sums.nll / tokens;
  return {{"eval/loss", loss},
          {"eval/perplexity", std::exp(loss)},
          {"eval/mean_token_accuracy", static_cast<double>(sums.correct) / tokens},
          {"eval/tokens", static_cast<double>(sums.tokens)}};
}

}  // namespace leash

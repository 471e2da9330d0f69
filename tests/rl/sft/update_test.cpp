// The gradients of a supervised step: against the loss written out, and unchanged by how the batch
// is cut.
#include "rl/sft/update.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "models/random/random.h"
#include "rl/data/packing.h"
#include "rl/sft/trainer.h"
#include "tests/support/first_of_two.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using testing::all_close;
using testing::same_bits;
using testing::tiny_adapter;
using testing::tiny_decoder;

std::vector<SftSample> samples() {
  std::vector<SftSample> result;
  for (int64_t i = 0; i < 7; ++i) {
    SftSample sample{.line = i + 1, .id = static_cast<uint64_t>(10 + i)};
    for (int64_t token = 0; token < 3 + 4 * i; ++token) {
      sample.ids.push_back((i * 31 + token * 17) % 96);
      sample.trained.push_back(token > 0 && (token + i) % 3 != 0 ? 1 : 0);
    }
    result.push_back(std::move(sample));
  }
  return result;
}

struct SftGradients {
  SftSums sums;
  std::vector<at::Tensor> values;
};

class SftUpdate : public ::testing::Test {
 protected:
  explicit SftUpdate(at::ScalarType dtype = at::kDouble)
      : decoder(tiny_decoder(dtype)), adapter(make_adapter(dtype)) {}

  Adapter make_adapter(at::ScalarType dtype) const {
    const LoraConfig config{
        .r = 4, .lora_alpha = 8, .lora_dropout = 0.3, .target_modules = "all-linear"};
    return tiny_adapter(*decoder, 3, 0.3, config).to(dtype);
  }
  SftGradients gradients(const std::vector<const SftSample*>& batch, int64_t step = 1) const {
    for (at::Tensor parameter : adapter.parameters()) parameter.mutable_grad().reset();
    SftGradients result{.sums = accumulate_gradients(batch, step, setup, {*decoder, adapter},
                                                     *single_communicator()),
                        .values = {}};
    for (const at::Tensor& parameter : adapter.parameters()) {
      result.values.push_back(parameter.grad().clone());
    }
    return result;
  }
  static void expect_close(const SftGradients& a, const SftGradients& b, double relative) {
    EXPECT_NEAR(a.sums.loss, b.sums.loss, relative * std::abs(b.sums.loss));
    EXPECT_EQ(a.sums.tokens, b.sums.tokens);
    EXPECT_EQ(a.sums.correct, b.sums.correct);
    for (size_t i = 0; i < a.values.size(); ++i) {
      const double size = b.values[i].abs().max().item<double>();
      EXPECT_TRUE(all_close(a.values[i], b.values[i], 0, relative * size)) << i;
    }
  }

  SftSetup setup;
  std::shared_ptr<const Decoder> decoder;
  Adapter adapter;
};

TEST_F(SftUpdate, EqualsTheLossWrittenOut) {
  LoraConfig config{.r = 4, .lora_alpha = 8, .target_modules = "all-linear"};
  adapter = tiny_adapter(*decoder, 3, 0.3, config).to(at::kDouble);  // no dropout
  setup.sft.label_smoothing_factor = 0.2;
  const auto data = samples();
  at::Tensor total;
  int64_t tokens = 0;
  for (const SftSample& sample : data) {
    const at::Tensor log_p = at::log_softmax(
        decoder->logits(decoder->forward(pack_one(sample.ids), adapter), adapter), -1);
    for (size_t t = 1; t < sample.ids.size(); ++t) {
      if (sample.trained[t] == 0) continue;
      const at::Tensor row = log_p[static_cast<int64_t>(t) - 1];
      const at::Tensor loss = row[sample.ids[t]].mul(-0.8).sub(row.mean(), 0.2);
      total = total.defined() ? total.add(loss) : loss;
      ++tokens;
    }
  }
  const at::Tensor loss = total.div(static_cast<double>(tokens));
  SftGradients expected{.sums = {.loss = loss.item<double>(), .tokens = tokens},
                        .values = torch::autograd::grad({loss}, adapter.parameters())};
  SftGradients actual = gradients(sample_refs(data));
  expected.sums.correct = actual.sums.correct;
  expect_close(actual, expected, 1e-12);
}

TEST_F(SftUpdate, MicroBatchesChangeNothing) {
  setup.sft.neftune_noise_alpha = 5.0;
  setup.sft.label_smoothing_factor = 0.1;
  const auto data = samples();
  setup.sft.micro_batch_tokens = 1000;
  const SftGradients whole = gradients(sample_refs(data));
  for (const int64_t tokens : {1, 20, 33}) {
    setup.sft.micro_batch_tokens = tokens;
    expect_close(gradients(sample_refs(data)), whole, 1e-12);
  }
}

TEST_F(SftUpdate, GradientsAreSentDuringTheLastBackwardPass) {
  const auto data = samples();
  setup.sft.micro_batch_tokens = 30;
  testing::FirstOfTwo communicator;
  (void)accumulate_gradients(sample_refs(data), 1, setup, {*decoder, adapter}, communicator);
  testing::expect_sent_in_backward(communicator, adapter.parameters());
}

TEST_F(SftUpdate, NeighboursAndOrderChangeNothing) {
  setup.sft.neftune_noise_alpha = 5.0;
  const auto data = samples();
  const SftGradients whole = gradients(sample_refs(data));
  // Packed into rows: other neighbours, another order.
  std::vector<int64_t> lengths;
  for (const SftSample& sample : data) lengths.push_back(static_cast<int64_t>(sample.ids.size()));
  std::vector<const SftSample*> packed;
  for (const auto& row : pack_best_fit(lengths, 40)) {
    for (const int64_t i : row) packed.push_back(&data[i]);
  }
  EXPECT_NE(packed, sample_refs(data));
  expect_close(gradients(packed), whole, 1e-12);
}

TEST_F(SftUpdate, DropoutDependsOnStepAndSampleAlone) {
  const auto data = samples();
  const auto refs = sample_refs(data);
  const SftGradients first = gradients(refs, 1);
  const SftGradients again = gradients(refs, 1);
  const SftGradients later = gradients(refs, 2);
  for (size_t i = 0; i < first.values.size(); ++i) {
    EXPECT_TRUE(same_bits(first.values[i], again.values[i]));
    EXPECT_FALSE(first.values[i].equal(later.values[i]));
  }
  setup.model.gradient_checkpointing = true;
  const SftGradients recomputed = gradients(refs, 1);
  for (size_t i = 0; i < first.values.size(); ++i) {
    EXPECT_TRUE(same_bits(recomputed.values[i], first.values[i]));
  }
}

TEST_F(SftUpdate, SamplesWithoutTrainedTokensChangeNothingAndMakeNoNaN) {
  const auto data = samples();
  const SftGradients whole = gradients(sample_refs(data));
  SftSample idle{.ids = {1, 2, 3}, .trained = {0, 0, 0}, .line = 8, .id = 99};
  auto refs = sample_refs(data);
  refs.insert(refs.begin() + 2, &idle);
  expect_close(gradients(refs), whole, 1e-12);
  const std::vector<const SftSample*> alone = {&idle};
  const SftSums sums =
      accumulate_gradients(alone, 1, setup, {*decoder, adapter}, *single_communicator());
  EXPECT_EQ(sums.loss, 0.0);
  EXPECT_EQ(sums.tokens, 0);
  for (const auto& [name, value] :
       held_out_metrics(held_out_sums(alone, 9, {*decoder, adapter}, *single_communicator()))) {
    EXPECT_TRUE(std::isfinite(value)) << name;
  }
}

TEST_F(SftUpdate, HeldOutFiguresAreThoseOfTokenScores) {
  setup.sft.neftune_noise_alpha = 5.0;  // neither noise nor dropout nor smoothing there
  const auto data = samples();
  double nll = 0;
  int64_t tokens = 0;
  for (const SftSample& sample : data) {
    const c10::AutoGradMode no_grad(false);
    const at::Tensor hidden = decoder->forward(pack_one(sample.ids), adapter);
    for (size_t t = 1; t < sample.ids.size(); ++t) {
      if (sample.trained[t] == 0) continue;
      nll -= decoder
                 ->token_scores(hidden.narrow(0, static_cast<int64_t>(t) - 1, 1),
                                at::tensor({sample.ids[t]}, at::kLong), 1.0, adapter)
                 .logprobs.item<double>();
      ++tokens;
    }
  }
  const Metrics metrics = held_out_metrics(
      held_out_sums(sample_refs(data), 30, {*decoder, adapter}, *single_communicator()));
  EXPECT_EQ(metrics[0].first, "eval/loss");
  EXPECT_NEAR(metrics[0].second, nll / static_cast<double>(tokens), 1e-12);
  EXPECT_EQ(metrics[1].first, "eval/perplexity");
  EXPECT_NEAR(std::log(metrics[1].second), nll / static_cast<double>(tokens), 1e-12);
  EXPECT_EQ(metrics[3].second, static_cast<double>(tokens));
}

// NEFTune's magnitude is alpha / sqrt(tokens x width), the last token counted.
TEST_F(SftUpdate, NoiseScalesWithLengthAndWidth) {
  const LoraConfig config{.r = 4, .lora_alpha = 8, .target_modules = "all-linear"};
  adapter = tiny_adapter(*decoder, 3, 0.3, config).to(at::kDouble);  // no dropout
  setup.sft.neftune_noise_alpha = 3.0;
  setup.run.seed = 7;
  const SftSample sample{.ids = {5, 90, 17, 3, 8}, .trained = {0, 1, 1, 1, 1}, .line = 1, .id = 42};
  const EmbeddingNoise noise{
      .seed = 7,
      .step = 3,
      .samples = {42},
      .magnitudes = {3.0 / std::sqrt(5.0 * static_cast<double>(decoder->config().hidden_size))}};
  const at::Tensor hidden = decoder->forward(pack_one({5, 90, 17, 3}), adapter, {.noise = &noise});
  const at::Tensor targets = at::tensor({90, 17, 3, 8}, at::kLong);
  const double expected =
      decoder->cross_entropy(hidden, targets, 0.0, 4.0, adapter).loss.item<double>();
  const std::vector<const SftSample*> batch = {&sample};
  EXPECT_NEAR(gradients(batch, 3).sums.loss, expected, 1e-12);
}

// NEFTune: the embeddings of a sequence of distinct tokens get uniform noise within the magnitude,
// as if the embedding's rows had changed.
TEST_F(SftUpdate, NoiseIsAddedToTheEmbeddings) {
  const c10::AutoGradMode no_grad(false);
  const std::vector<int64_t> ids = {5, 90, 17, 3};
  const int64_t width = decoder->config().hidden_size;
  const EmbeddingNoise noise{.seed = 7, .step = 3, .samples = {42}, .magnitudes = {0.25}};
  const at::Tensor drawn =
      uniform_tensor({7, Purpose::noise, 3, 42}, {4, width}, -0.25, 0.25).to(at::kDouble);
  EXPECT_LE(drawn.abs().max().item<double>(), 0.25);
  EXPECT_GE(drawn.abs().max().item<double>(), 0.2);
  int64_t module = 0;
  while (decoder->modules()[module].path != "model.embed_tokens") ++module;
  Adapter moved({}, decoder->modules());
  at::Tensor table = decoder->base_value(module, false);
  table.index_add_(0, at::tensor(ids, at::kLong), drawn);
  moved.set_weight_copy(module, table);
  const at::Tensor expected = decoder->forward(pack_one(ids), moved);
  EXPECT_TRUE(all_close(decoder->forward(pack_one(ids), {}, {.noise = &noise}), expected, 1e-12));
}

}  // namespace
}  // namespace leash

// The gradients of a step of reward training: against the loss written out over whole sequences,
// and unchanged by how the batch is cut.
#include "rl/reward_model/update.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "models/decoder/score_head.h"
#include "models/random/random.h"
#include "rollout/scoring.h"
#include "tests/support/first_of_two.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using testing::all_close;
using testing::same_bits;
using testing::tiny_checkpoint;
using testing::tiny_decoder;

std::vector<PreferencePair> five_pairs() {
  std::vector<PreferencePair> result;
  for (int64_t i = 0; i < 5; ++i) {
    PreferencePair pair{.common = i == 2 ? 0 : 2 + i,
                        .margin = 0.1 * static_cast<double>(i),
                        .line = i + 1,
                        .id = static_cast<uint64_t>(20 + i),
                        .prompt = i / 2};
    for (int64_t token = 0; token < pair.common; ++token) {
      pair.chosen.push_back((i * 31 + token * 17) % 96);
    }
    pair.rejected = pair.chosen;
    for (int64_t token = 0; token < 1 + i; ++token) pair.chosen.push_back((i + token * 7) % 48);
    for (int64_t token = 0; token < 4 - i % 3; ++token) {
      pair.rejected.push_back(48 + (i * 5 + token * 11) % 48);
    }
    result.push_back(std::move(pair));
  }
  return result;
}

struct RewardGradients {
  RewardSums sums;
  std::vector<at::Tensor> values;
};

class RewardUpdate : public ::testing::Test {
 protected:
  RewardUpdate() : decoder(tiny_decoder(at::kDouble)), adapter(make_adapter()) {}

  Adapter make_adapter() const {
    const LoraConfig config{.r = 4,
                            .lora_alpha = 8,
                            .lora_dropout = 0.3,
                            .target_modules = "all-linear",
                            .task_type = TaskType::SEQ_CLS};
    Adapter made = start_score_adapter(config, *decoder, tiny_checkpoint(), 3);
    for (size_t module = 0; module < decoder->modules().size(); ++module) {
      const LoraWeights* weights = made.lora(static_cast<int64_t>(module));
      if (weights == nullptr) continue;
      weights->b.detach().copy_(
          normal_tensor(DrawKey{3, Purpose::noise, module, 1}, weights->b.sizes(), 0, 0.3));
    }
    score_head(made).weight.detach().mul_(20);  // scores of a size that the loss feels
    return made;
  }
  RewardGradients gradients(const std::vector<const PreferencePair*>& batch,
                            int64_t step = 1) const {
    for (at::Tensor parameter : adapter.parameters()) parameter.mutable_grad().reset();
    RewardGradients result{.sums = accumulate_gradients(batch, step, setup, {*decoder, adapter},
                                                        *single_communicator()),
                           .values = {}};
    for (const at::Tensor& parameter : adapter.parameters()) {
      result.values.push_back(parameter.grad().clone());
    }
    return result;
  }
  static void expect_close(const RewardGradients& a, const RewardGradients& b, double relative) {
    EXPECT_NEAR(a.sums.loss, b.sums.loss, relative * std::abs(b.sums.loss));
    EXPECT_NEAR(a.sums.margin, b.sums.margin, relative * std::abs(b.sums.margin));
    EXPECT_EQ(a.sums.correct, b.sums.correct);
    for (size_t i = 0; i < a.values.size(); ++i) {
      const double size = b.values[i].abs().max().item<double>();
      EXPECT_TRUE(all_close(a.values[i], b.values[i], 0, relative * size)) << i;
    }
  }
  // A sequence's score, by itself.
  at::Tensor score(const std::vector<int64_t>& ids) const {
    const at::Tensor hidden = decoder->forward(pack_one(ids), adapter);
    return score_head(adapter)(hidden.narrow(0, hidden.size(0) - 1, 1)).squeeze();
  }

  RewardSetup setup;
  std::shared_ptr<const Decoder> decoder;
  Adapter adapter;
};

TEST_F(RewardUpdate, EqualsTheLossWrittenOutOverWholeSequences) {
  setup.reward.center_rewards_coefficient = 0.03;
  setup.reward.label_smoothing = 0.1;
  const auto data = five_pairs();
  at::Tensor total;
  RewardGradients expected;
  for (const PreferencePair& pair : data) {
    const at::Tensor chosen = score(pair.chosen), rejected = score(pair.rejected);
    const at::Tensor difference = chosen - rejected - pair.margin;
    const at::Tensor loss = at::log_sigmoid(difference) * -0.9 -
                            at::log_sigmoid(-difference) * 0.1 +
                            (chosen + rejected).square() * 0.03;
    total = total.defined() ? total + loss : loss;
    expected.sums.margin += (chosen - rejected).item<double>();
    expected.sums.correct += chosen.item<double>() > rejected.item<double>() ? 1 : 0;
  }
  const at::Tensor loss = total / 5.0;
  expected.sums.loss = loss.item<double>();
  expected.values = torch::autograd::grad({loss}, adapter.parameters());
  const RewardGradients actual = gradients(pair_refs(data));
  expect_close(actual, expected, 1e-11);
  EXPECT_EQ(actual.sums.pairs, 5);
  int64_t tokens = 0, rows = 0;
  for (const PreferencePair& pair : data) {
    tokens += static_cast<int64_t>(pair.chosen.size() + pair.rejected.size());
    rows += pair.rows();
  }
  EXPECT_EQ(actual.sums.tokens, tokens);
  EXPECT_EQ(actual.sums.rows, rows);
  EXPECT_LT(rows, tokens);
}

TEST_F(RewardUpdate, MicroBatchesChangeNothing) {
  setup.reward.disable_dropout = false;
  const auto data = five_pairs();
  setup.reward.micro_batch_tokens = 1000;
  const RewardGradients whole = gradients(pair_refs(data));
  for (const int64_t tokens : {1, 20}) {
    setup.reward.micro_batch_tokens = tokens;
    expect_close(gradients(pair_refs(data)), whole, 1e-11);
  }
}

TEST_F(RewardUpdate, GradientsAreSentDuringTheLastBackwardPass) {
  const auto data = five_pairs();
  setup.reward.micro_batch_tokens = 9;
  testing::FirstOfTwo communicator;
  (void)accumulate_gradients(pair_refs(data), 1, setup, {*decoder, adapter}, communicator);
  testing::expect_sent_in_backward(communicator, adapter.parameters());
}

TEST_F(RewardUpdate, DropoutDependsOnStepAndPairAlone) {
  const auto data = five_pairs();
  const auto refs = pair_refs(data);
  const RewardGradients without = gradients(refs, 1);
  EXPECT_TRUE(same_bits(gradients(refs, 2).values[0], without.values[0]));
  setup.reward.disable_dropout = false;
  const RewardGradients first = gradients(refs, 1), again = gradients(refs, 1),
                        later = gradients(refs, 2);
  for (size_t i = 0; i < first.values.size(); ++i) {
    EXPECT_TRUE(same_bits(first.values[i], again.values[i]));
    EXPECT_FALSE(first.values[i].equal(later.values[i]));
    EXPECT_FALSE(first.values[i].equal(without.values[i]));
  }
  setup.model.gradient_checkpointing = true;
  const RewardGradients recomputed = gradients(refs, 1);
  for (size_t i = 0; i < first.values.size(); ++i) {
    EXPECT_TRUE(same_bits(recomputed.values[i], first.values[i]));
  }
}

TEST_F(RewardUpdate, HeldOutScoresAreThoseOfScoring) {
  setup.reward.disable_dropout = false;
  const auto data = five_pairs();
  const auto scored =
      held_out_scores(pair_refs(data), 9, {*decoder, adapter}, *single_communicator());
  ASSERT_EQ(scored.size(), data.size());
  for (size_t i = 0; i < data.size(); ++i) {
    const std::vector<std::vector<int64_t>> both = {data[i].chosen, data[i].rejected};
    const at::Tensor expected = score_sequences(*decoder, &adapter, score_head(adapter), both);
    EXPECT_NEAR(scored[i].chosen, expected[0][0].item<double>(), 1e-5);  // fp32 there
    EXPECT_NEAR(scored[i].rejected, expected[1][0].item<double>(), 1e-5);
    EXPECT_EQ(scored[i].chosen_length,
              static_cast<int64_t>(data[i].chosen.size()) - data[i].common);
    EXPECT_EQ(scored[i].prompt, data[i].prompt);
  }
}

TEST_F(RewardUpdate, MetricsHaveTrlsNamesAndMeanings) {
  RewardSums sums;
  sums.add({.loss = 0.5,
            .pairs = 1,
            .correct = 1,
            .margin = 2,
            .reward = 4,
            .min_reward = 1,
            .max_reward = 3});
  sums.add({.loss = 0.25,
            .pairs = 1,
            .correct = 0,
            .margin = -1,
            .reward = 1,
            .min_reward = 0,
            .max_reward = 1});
  const Metrics expected = {{"accuracy", 0.5},
                            {"margin", 0.5},
                            {"min_reward", 0.0},
                            {"mean_reward", 1.25},
                            {"max_reward", 3.0}};
  EXPECT_EQ(reward_metrics(sums), expected);
  EXPECT_EQ(sums.loss, 0.75);
}

TEST_F(RewardUpdate, TheHeadStartsFromTheSeedOrTheCheckpoint) {
  const LoraConfig config{.task_type = TaskType::SEQ_CLS};
  const auto head = [&](const Checkpoint& checkpoint, uint64_t seed) {
    return score_head(start_score_adapter(config, *decoder, checkpoint, seed)).weight.detach();
  };
  EXPECT_TRUE(same_bits(head(tiny_checkpoint(), 4), head(tiny_checkpoint(), 4)));
  EXPECT_FALSE(head(tiny_checkpoint(), 4).equal(head(tiny_checkpoint(), 5)));
  EXPECT_NEAR(head(tiny_checkpoint(), 4).std().item<double>(), 0.02, 0.01);
  Checkpoint wide = tiny_checkpoint();
  wide.config.initializer_range = 0.5;
  const auto wide_decoder = Decoder::load(wide, at::kFloat);
  const Adapter adapter = start_score_adapter(config, *wide_decoder, wide, 4);
  EXPECT_NEAR(score_head(adapter).weight.detach().std().item<double>(), 0.5, 0.2);
  const Checkpoint classifier = tiny_checkpoint({.num_labels = 1});
  EXPECT_TRUE(all_close(head(classifier, 4), classifier.tensors->read("score.weight", at::kFloat),
                        0, 1e-7));
}

}  // namespace
}  // namespace leash

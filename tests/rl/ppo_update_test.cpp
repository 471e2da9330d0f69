// The gradients of a PPO minibatch: against the losses written out, unchanged by how the batch is
// cut, and the number of steps that an iteration makes.
#include "rl/ppo_update.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>

#include "models/random.h"
#include "tests/support/files.h"
#include "tests/support/first_of_two.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_folder.h"

namespace leash {
namespace {

using testing::all_close;
using testing::tiny_adapter;
using testing::tiny_decoder;

constexpr int64_t kAnswers = 6, kLongest = 9;

at::Tensor noise(at::IntArrayRef shape, uint64_t key) {
  return uniform_tensor({key, Purpose::noise, 0, 0}, shape, -1, 1).to(at::kDouble);
}

std::vector<int64_t> ids(int64_t length, int64_t key) {
  std::vector<int64_t> result;
  for (int64_t i = 0; i < length; ++i) result.push_back((key * 31 + i * 17) % 96);
  return result;
}

Tokenizer tokenizer() {
  const testing::ScratchFolder folder;
  testing::write_tiny_folder(folder.path());
  return Tokenizer::load(folder.path());
}

// Answers of 1 to 9 tokens behind prompts of 2 to 7, which may all begin with the same `beginning`
// tokens, with every number that an update reads.
Experience experience(int64_t beginning = 0) {
  Experience result;
  std::vector<int64_t> lengths;
  for (int64_t row = 0; row < kAnswers; ++row) {
    const int64_t length = row == 2 ? kLongest : 1 + (row * 5) % 8;
    lengths.push_back(length);
    result.answers.push_back({.sample = static_cast<uint64_t>(row),
                              .prompt_ids = ids(2 + row, row),
                              .token_ids = ids(length, 50 + row)});
  }
  const std::vector<int64_t> system = ids(beginning, 77);
  for (Completion& answer : result.answers) {
    answer.prompt_ids.insert(answer.prompt_ids.begin(), system.begin(), system.end());
  }
  result.mask = row_mask(lengths);
  const std::vector<int64_t> shape = {kAnswers, kLongest};
  result.logprobs = noise(shape, 1).mul(0.5).sub(4.5);
  result.values = noise(shape, 2);
  result.advantages = noise(shape, 3);
  result.returns = noise(shape, 4);
  return result;
}

class PpoUpdate : public ::testing::Test {
 protected:
  PpoUpdate() {
    const auto decoder = tiny_decoder(at::kDouble);
    roles = std::make_unique<PpoRoles>(
        PpoRoles{.checkpoint = {},
                 .decoder = decoder,
                 .tokenizer = tokenizer(),
                 .policy = tiny_adapter(*decoder).to(at::kDouble),
                 .reference_decoder = decoder,
                 .reference_adapter = {},
                 .critic = {.kind = CriticKind::shared, .decoder = decoder},
                 .reward = {}});
    roles->critic.head = {.weight = noise({1, 32}, 9).requires_grad_(true)};
    setup.rollout.temperature = 0.7;
    setup.ppo.micro_batch_tokens = 1000;
    setup.ppo.vf_coef = 0.3;
    setup.ppo.batch_size = kAnswers;
  }

  std::vector<at::Tensor> leaves() const {
    std::vector<at::Tensor> result = roles->policy.parameters();
    for (const at::Tensor& parameter : roles->critic.parameters()) result.push_back(parameter);
    return result;
  }

  std::vector<at::Tensor> gradients(const std::vector<int64_t>& rows, UpdateSums* sums = nullptr) {
    for (at::Tensor leaf : leaves()) leaf.mutable_grad().reset();
    const UpdateSums result =
        accumulate_gradients(experience(beginning), rows, setup, *roles, *single_communicator());
    if (sums != nullptr) *sums = result;
    std::vector<at::Tensor> values;
    for (const at::Tensor& leaf : leaves()) {
      values.push_back(leaf.grad().defined() ? leaf.grad().clone() : leaf.mul(0).detach());
    }
    return values;
  }

  // Token by token from whole logits, as the papers write it.
  at::Tensor loss_written_out(const std::vector<int64_t>& rows) const {
    const Experience known = experience(beginning);
    at::Tensor policy = at::zeros(at::IntArrayRef{}, at::kDouble), value = policy;
    double tokens = 0;
    for (const int64_t row : rows) {
      std::vector<int64_t> text = known.answers[row].prompt_ids;
      const auto prompt = static_cast<int64_t>(text.size());
      const std::vector<int64_t>& answer = known.answers[row].token_ids;
      text.insert(text.end(), answer.begin(), answer.end());
      const at::Tensor hidden = roles->decoder->forward(pack_one(text), roles->policy);
      const at::Tensor log_p = at::log_softmax(
          roles->decoder->logits(hidden, roles->policy).div(setup.rollout.temperature), -1);
      const at::Tensor states = roles->critic.backprop_to_policy ? hidden : hidden.detach();
      for (int64_t j = 0; j < static_cast<int64_t>(answer.size()); ++j) {
        const at::Tensor ratio = at::exp(log_p[prompt - 1 + j][answer[j]] - known.logprobs[row][j]);
        const at::Tensor gain = -known.advantages[row][j];
        policy = policy + at::maximum(gain * ratio, gain * at::clamp(ratio, 0.8, 1.2));
        const at::Tensor v = roles->critic.head(states.narrow(0, prompt - 1 + j, 1)).squeeze();
        const at::Tensor old = known.values[row][j], target = known.returns[row][j];
        const at::Tensor near = at::clamp(v, old - 0.2, old + 0.2);
        value = value + at::maximum((v - target).square(), (near - target).square()) * 0.5;
        ++tokens;
      }
    }
    return (policy + value * setup.ppo.vf_coef) / tokens;
  }

  static void expect_close(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      EXPECT_TRUE(all_close(a[i], b[i], 0, 1e-11 * std::max(1e-3, b[i].abs().max().item<double>())))
          << i;
    }
  }

  PpoSetup setup;
  int64_t beginning = 0;  // tokens that all prompts begin with
  std::unique_ptr<PpoRoles> roles;
};

TEST_F(PpoUpdate, GradientsEqualTheLossesWrittenOut) {
  const std::vector<int64_t> rows = {3, 0, 2, 5};
  for (const auto& [shared, backprop] :
       {std::pair<int64_t, bool>{0, false}, {0, true}, {9, false}, {9, true}}) {
    beginning = shared;
    roles->critic.backprop_to_policy = backprop;
    const at::Tensor loss = loss_written_out(rows);
    UpdateSums sums;
    expect_close(gradients(rows, &sums), torch::autograd::grad({loss}, leaves()));
    EXPECT_NEAR(sums.policy_loss + setup.ppo.vf_coef * sums.value_loss, loss.item<double>(), 1e-12);
    EXPECT_GT(sums.clipped, 0) << "the clip is not exercised";
    EXPECT_GT(sums.value_clipped, 0);
  }
}

TEST_F(PpoUpdate, AnAdapterCriticLearnsFromItsOwnTrunk) {
  roles->critic.kind = CriticKind::adapter;
  roles->critic.adapter = tiny_adapter(*roles->decoder, /*seed=*/11).to(at::kDouble);
  const std::vector<int64_t> rows = {1, 4};
  const auto both = gradients(rows);
  setup.ppo.vf_coef = 0;
  const auto policy_only = gradients(rows);
  const size_t num_policy = roles->policy.parameters().size();
  for (size_t i = 0; i < both.size(); ++i) {
    if (i < num_policy) {
      EXPECT_TRUE(all_close(both[i], policy_only[i], 0, 0)) << "the value loss moved the policy";
    } else {
      EXPECT_GT(both[i].abs().max().item<double>(), 0) << i;
      EXPECT_EQ(policy_only[i].abs().max().item<double>(), 0) << i;
    }
  }
}

TEST_F(PpoUpdate, MicroBatchesChangeNothing) {
  const std::vector<int64_t> rows = {0, 1, 2, 3, 4, 5};
  for (const int64_t shared : {0, 9}) {
    beginning = shared;
    UpdateSums whole, parts;
    const auto expected = gradients(rows, &whole);
    for (const int64_t tokens : {1, 17, 30}) {
      setup.ppo.micro_batch_tokens = tokens;
      expect_close(gradients(rows, &parts), expected);
      EXPECT_NEAR(parts.policy_loss, whole.policy_loss, 1e-12);
      EXPECT_NEAR(parts.value_loss, whole.value_loss, 1e-12);
      EXPECT_EQ(parts.tokens, whole.tokens);
    }
  }
}

TEST_F(PpoUpdate, RecomputationChangesNothing) {
  const std::vector<int64_t> rows = {0, 2, 4};
  const auto expected = gradients(rows);
  setup.model.gradient_checkpointing = true;
  expect_close(gradients(rows), expected);
}

// Policy and critic, with blocks that are computed again, and a beginning that all texts share.
TEST_F(PpoUpdate, GradientsAreSentDuringTheLastBackwardPass) {
  beginning = 5;
  setup.ppo.micro_batch_tokens = 24;
  for (const bool recompute : {false, true}) {
    setup.model.gradient_checkpointing = recompute;
    for (at::Tensor leaf : leaves()) leaf.mutable_grad().reset();
    testing::FirstOfTwo communicator;
    (void)accumulate_gradients(experience(beginning), {0, 1, 2, 3, 4, 5}, setup, *roles,
                               communicator);
    testing::expect_sent_in_backward(communicator, leaves());
  }
}

TEST_F(PpoUpdate, EveryAnswerIsSeenOnceAnEpochInAnOrderOfItsOwn) {
  setup.ppo.num_mini_batches = 3;
  std::vector<std::vector<int64_t>> epochs;
  for (int64_t epoch = 0; epoch < 4; ++epoch) {
    std::vector<int64_t> seen;
    for (int64_t index = 0; index < 3; ++index) {
      const auto rows = minibatch_rows(setup.ppo, /*seed=*/1, /*step=*/2, epoch, index);
      EXPECT_EQ(rows.size(), 2u);
      seen.insert(seen.end(), rows.begin(), rows.end());
    }
    epochs.push_back(seen);
    std::ranges::sort(seen);
    EXPECT_EQ(seen, (std::vector<int64_t>{0, 1, 2, 3, 4, 5}));
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_EQ(minibatch_rows(setup.ppo, 1, 2, 0, 0), minibatch_rows(setup.ppo, 1, 2, 0, 0));
  EXPECT_NE(epochs[0], [&] {
    std::vector<int64_t> other;
    for (int64_t index = 0; index < 3; ++index) {
      const auto rows = minibatch_rows(setup.ppo, 1, /*step=*/3, 0, index);
      other.insert(other.end(), rows.begin(), rows.end());
    }
    return other;
  }());
}

TEST_F(PpoUpdate, MakesEpochsTimesMinibatchesSteps) {
  setup.ppo.num_mini_batches = 3;
  setup.ppo.num_ppo_epochs = 4;
  PpoOptimizers optimizers(setup.ppo, *roles);
  update(experience(), 1, setup, *roles, optimizers, {.policy = 1e-3, .critic = 1e-3},
         *single_communicator());
  int64_t counted = 0;
  for (const AdamW* optimizer : {&optimizers.policy, &optimizers.critic}) {
    for (const auto& [name, tensor] : optimizer->state()) {
      if (!name.ends_with(".step")) continue;
      EXPECT_EQ(tensor.item<double>(), 12) << name;
      ++counted;
    }
  }
  EXPECT_EQ(counted, static_cast<int64_t>(leaves().size()));
}

}  // namespace
}  // namespace leash

// The gradients of a PPO minibatch: against the losses written out, unchanged by how the batch is
// cut, and the number of steps that an iteration makes.
#include "rl/ppo/update.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "models/random/random.h"
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

// Answers of 1 to 9 tokens behind prompts of 2 to 7, which may all begin with the same `prefix`
// tokens, with every number that an update reads.
Experience experience(int64_t prefix = 0) {
  Experience result;
  std::vector<int64_t> lengths;
  for (int64_t row = 0; row < kAnswers; ++row) {
    const int64_t length = row == 2 ? kLongest : 1 + (row * 5) % 8;
    lengths.push_back(length);
    result.answers.push_back({.sample = static_cast<uint64_t>(row),
                              .prompt_ids = ids(2 + row, row),
                              .token_ids = ids(length, 50 + row)});
  }
  const std::vector<int64_t> system = ids(prefix, 77);
  for (Completion& answer : result.answers) {
    answer.prompt_ids.insert(answer.prompt_ids.begin(), system.begin(), system.end());
  }
  result.mask = row_mask(lengths);
  const std::vector<int64_t> shape = {kAnswers, kLongest};
  result.logprobs = noise(shape, 1).mul(0.5).sub(4.5);
  result.sampled_logprobs = result.logprobs.sub(0.25);
  result.values = noise(shape, 2);
  result.advantages = noise(shape, 3);
  result.returns = noise(shape, 4);
  return result;
}

class PpoUpdate : public ::testing::Test {
 protected:
  PpoUpdate() {
    const auto decoder = tiny_decoder(at::kDouble);
    roles = std::make_unique<PolicyRoles>(
        PolicyRoles{.checkpoint = {},
                    .decoder = decoder,
                    .tokenizer = tokenizer(),
                    .policy = tiny_adapter(*decoder).to(at::kDouble),
                    .reference = {.decoder = decoder, .adapter = {}},
                    .critic = Critic{.kind = CriticKind::shared, .decoder = decoder},
                    .reward = {}});
    roles->critic->head = {.weight = noise({1, 32}, 9).requires_grad_(true)};
    setup.rollout.temperature = 0.7;
    setup.ppo.micro_batch_tokens = 1000;
    setup.ppo.vf_coef = 0.3;
    setup.ppo.cliprange = 0.15;  // unequal, so that neither stands in for the other
    setup.ppo.cliprange_value = 0.3;
    setup.ppo.batch_size = kAnswers;
  }

  std::vector<at::Tensor> leaves() const {
    std::vector<at::Tensor> result = roles->policy.parameters();
    for (const at::Tensor& parameter : roles->critic->parameters()) result.push_back(parameter);
    return result;
  }

  std::vector<at::Tensor> gradients(const std::vector<int64_t>& rows, UpdateSums* sums = nullptr) {
    for (at::Tensor leaf : leaves()) leaf.mutable_grad().reset();
    Experience known = experience(prefix);
    const UpdateSums result =
        accumulate_gradients(known, rows, ppo_update_rules(setup), *roles, *single_communicator());
    if (sums != nullptr) *sums = result;
    std::vector<at::Tensor> values;
    for (const at::Tensor& leaf : leaves()) {
      values.push_back(leaf.grad().defined() ? leaf.grad().clone() : leaf.mul(0).detach());
    }
    return values;
  }

  // What a minibatch's losses and metrics are, as sums over its tokens.
  struct WrittenOut {
    at::Tensor policy = at::zeros(at::IntArrayRef{}, at::kDouble), value = policy;
    double tokens = 0, clipped = 0, value_clipped = 0, log_ratio_squares = 0, entropy = 0;
    double ratio = 0, ratio_squares = 0, gap = 0, gap_max = 0;
  };

  // Token by token from whole logits, as the papers write it.
  WrittenOut written_out(const std::vector<int64_t>& rows) const {
    const Experience known = experience(prefix);
    WrittenOut sums;
    const double clip = setup.ppo.cliprange, clip_value = *setup.ppo.cliprange_value;
    for (const int64_t row : rows) {
      std::vector<int64_t> text = known.answers[row].prompt_ids;
      const auto prompt = static_cast<int64_t>(text.size());
      const std::vector<int64_t>& answer = known.answers[row].token_ids;
      text.insert(text.end(), answer.begin(), answer.end());
      const at::Tensor hidden = roles->decoder->forward(pack_one(text), roles->policy);
      const at::Tensor log_p = at::log_softmax(
          roles->decoder->logits(hidden, roles->policy).div(setup.rollout.temperature), -1);
      const at::Tensor states = roles->critic->backprop_to_policy ? hidden : hidden.detach();
      for (int64_t j = 0; j < static_cast<int64_t>(answer.size()); ++j) {
        const at::Tensor here = log_p[prompt - 1 + j];
        const at::Tensor log_ratio = here[answer[j]] - known.logprobs[row][j];
        const at::Tensor ratio = at::exp(log_ratio);
        const at::Tensor gain = -known.advantages[row][j];
        const at::Tensor plain = gain * ratio;
        const at::Tensor clipped = gain * at::clamp(ratio, 1 - clip, 1 + clip);
        sums.policy = sums.policy + at::maximum(plain, clipped);
        const at::Tensor v = roles->critic->head(states.narrow(0, prompt - 1 + j, 1)).squeeze();
        const at::Tensor old = known.values[row][j], target = known.returns[row][j];
        const at::Tensor near = at::clamp(v, old - clip_value, old + clip_value);
        const at::Tensor far_loss = (v - target).square(), near_loss = (near - target).square();
        sums.value = sums.value + at::maximum(far_loss, near_loss) * 0.5;
        const double d = log_ratio.item<double>();
        ++sums.tokens;
        sums.clipped += (clipped > plain).item<bool>() ? 1 : 0;
        sums.value_clipped += (near_loss > far_loss).item<bool>() ? 1 : 0;
        sums.log_ratio_squares += d * d;
        sums.entropy -= (here.exp() * here).sum().item<double>();
        sums.ratio += std::exp(d);
        sums.ratio_squares += std::exp(2 * d);
        const double gap = (here[answer[j]] - known.sampled_logprobs[row][j]).abs().item<double>();
        sums.gap += gap;
        sums.gap_max = std::max(sums.gap_max, gap);
      }
    }
    return sums;
  }

  at::Tensor loss_written_out(const std::vector<int64_t>& rows) const {
    const WrittenOut sums = written_out(rows);
    return (sums.policy + sums.value * setup.ppo.vf_coef) / sums.tokens;
  }

  std::map<std::string, double> metrics_of_update() const {
    PolicyOptimizers optimizers(setup.ppo, *roles);
    Experience known = experience();
    const Metrics metrics =
        update(known, 1, rates, ppo_update_rules(setup), {*roles, optimizers, *alone_});
    return {metrics.begin(), metrics.end()};
  }

  static void expect_close(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      EXPECT_TRUE(all_close(a[i], b[i], 0, 1e-11 * std::max(1e-3, b[i].abs().max().item<double>())))
          << i;
    }
  }

  PpoSetup setup;
  LearningRates rates{.policy = 1e-3, .critic = 1e-3};
  int64_t prefix = 0;  // tokens that all prompts share
  std::unique_ptr<PolicyRoles> roles;
  std::unique_ptr<Communicator> alone_ = single_communicator();
};

TEST_F(PpoUpdate, GradientsEqualTheLossesWrittenOut) {
  const std::vector<int64_t> rows = {3, 0, 2, 5};
  for (const auto& [shared, backprop] :
       {std::pair<int64_t, bool>{0, false}, {0, true}, {9, false}, {9, true}}) {
    prefix = shared;
    roles->critic->backprop_to_policy = backprop;
    const at::Tensor loss = loss_written_out(rows);
    UpdateSums sums;
    expect_close(gradients(rows, &sums), torch::autograd::grad({loss}, leaves()));
    EXPECT_NEAR(sums.policy_loss + setup.ppo.vf_coef * sums.value_loss, loss.item<double>(), 1e-12);
    EXPECT_GT(sums.clipped_low + sums.clipped_high, 0) << "the clip is not exercised";
    EXPECT_GT(sums.value_clipped, 0);
  }
}

TEST_F(PpoUpdate, AnAdapterCriticLearnsFromItsOwnTrunk) {
  roles->critic->kind = CriticKind::adapter;
  roles->critic->adapter = tiny_adapter(*roles->decoder, /*seed=*/11).to(at::kDouble);
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

// What PPO's relatives run: the same gradients of the policy, no value loss, nothing else that
// trains.
TEST_F(PpoUpdate, WithoutACriticThePolicyLearnsAlone) {
  const std::vector<int64_t> rows = {0, 2, 3};
  auto expected = gradients(rows);
  expected.resize(roles->policy.parameters().size());
  roles->critic.reset();
  for (at::Tensor leaf : roles->policy.parameters()) leaf.mutable_grad().reset();
  Experience known = experience(prefix);
  const UpdateSums sums =
      accumulate_gradients(known, rows, ppo_update_rules(setup), *roles, *single_communicator());
  EXPECT_EQ(sums.value_loss, 0);
  EXPECT_EQ(trained_parameters(*roles).size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(all_close(roles->policy.parameters()[i].grad(), expected[i], 0, 0)) << i;
  }
  PolicyOptimizers optimizers(setup.ppo, *roles);
  Experience again = experience(prefix);
  const Metrics metrics = update(again, 1, {.policy = 1e-3, .critic = 1e-3},
                                 ppo_update_rules(setup), {*roles, optimizers, *alone_});
  const std::map<std::string, double> named(metrics.begin(), metrics.end());
  EXPECT_EQ(named.at("loss/value_avg"), 0);
  EXPECT_GT(named.at("policy/grad_norm"), 0);
}

// The critic's warm-up: it learns what it would learn, of whatever kind it is.
TEST_F(PpoUpdate, ThePolicyStandsStillWhileTheCriticWarmsUp) {
  for (const bool own : {false, true}) {
    if (own) {
      roles->critic->kind = CriticKind::adapter;
      roles->critic->adapter = tiny_adapter(*roles->decoder, /*seed=*/11).to(at::kDouble);
    }
    const Adapter start = roles->policy.clone();
    Experience known = experience(prefix);
    const std::vector<int64_t> rows = {0, 1, 2};
    const auto expected = gradients(rows);
    for (at::Tensor leaf : trained_parameters(*roles)) leaf.mutable_grad().reset();
    UpdateRules rules = ppo_update_rules(setup);
    rules.policy_stands_still = true;
    (void)accumulate_gradients(known, rows, rules, *roles, *single_communicator());
    const auto critic = roles->critic->parameters();
    const auto first = static_cast<int64_t>(roles->policy.parameters().size());
    for (size_t i = 0; i < critic.size(); ++i) {
      EXPECT_TRUE(all_close(critic[i].grad(), expected[first + static_cast<int64_t>(i)], 1e-12, 0));
    }
    PolicyOptimizers optimizers(setup.ppo, *roles);
    const at::Tensor head = roles->critic->head.weight.detach().clone();
    (void)update(known, 1, {.policy = 1e-2, .critic = 1e-2}, rules, {*roles, optimizers, *alone_});
    for (size_t i = 0; i < start.parameters().size(); ++i) {
      EXPECT_TRUE(
          all_close(roles->policy.parameters()[i].detach(), start.parameters()[i].detach(), 0, 0));
    }
    EXPECT_FALSE(all_close(roles->critic->head.weight.detach(), head, 0, 1e-9));
  }
}

TEST_F(PpoUpdate, MicroBatchesChangeNothing) {
  const std::vector<int64_t> rows = {0, 1, 2, 3, 4, 5};
  for (const int64_t shared : {0, 9}) {
    prefix = shared;
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

// The head's states of a trunk that never changes are computed once, by whoever needs them first:
// with what scoring kept, or a part of it, gradients are those without.
TEST_F(PpoUpdate, AFrozenTrunkIsAskedOnce) {
  prefix = 3;
  roles->critic->kind = CriticKind::separate;
  roles->critic->decoder = tiny_decoder(at::kDouble, {.seed = 21});
  setup.ppo.micro_batch_tokens = 30;
  const std::vector<int64_t> rows = {4, 1, 5, 0, 2};
  const auto run = [&](Experience& known) {
    for (at::Tensor leaf : leaves()) leaf.mutable_grad().reset();
    (void)accumulate_gradients(known, rows, ppo_update_rules(setup), *roles,
                               *single_communicator());
    std::vector<at::Tensor> gradients;
    for (const at::Tensor& leaf : leaves()) gradients.push_back(leaf.grad().clone());
    return gradients;
  };
  Experience fresh = experience(prefix);
  const auto expected = run(fresh);
  // The value loss of row 4's first token, say, written out through the trunk itself.
  std::vector<int64_t> text = fresh.answers[4].prompt_ids;
  const auto prompt = static_cast<int64_t>(text.size());
  const std::vector<int64_t>& answer = fresh.answers[4].token_ids;
  text.insert(text.end(), answer.begin(), answer.end());
  const at::Tensor hidden = roles->critic->decoder->forward(pack_one(text), nullptr);
  ASSERT_EQ(fresh.critic_states.size(), static_cast<size_t>(kAnswers));
  EXPECT_TRUE(all_close(fresh.critic_states[4],
                        hidden.narrow(0, prompt - 1, static_cast<int64_t>(answer.size())), 0,
                        1e-12));
  EXPECT_FALSE(fresh.critic_states[3].defined()) << "row 3 was not asked for";

  Experience known = experience(prefix);
  known.critic_states = fresh.critic_states;
  known.critic_states[1] = at::Tensor();
  expect_close(run(known), expected);
  EXPECT_TRUE(known.critic_states[1].defined());
  // What is known is what is read.
  for (at::Tensor& states : known.critic_states) {
    if (states.defined()) states = at::zeros_like(states);
  }
  EXPECT_EQ(run(known).back().abs().max().item<double>(), 0) << "the head's gradient";
}

TEST_F(PpoUpdate, RecomputationChangesNothing) {
  const std::vector<int64_t> rows = {0, 2, 4};
  const auto expected = gradients(rows);
  setup.model.gradient_checkpointing = true;
  expect_close(gradients(rows), expected);
}

// Policy and critic, with blocks that are computed again, and a prefix that all texts share.
TEST_F(PpoUpdate, GradientsAreSentDuringTheLastBackwardPass) {
  prefix = 5;
  setup.ppo.micro_batch_tokens = 24;
  for (const bool recompute : {false, true}) {
    setup.model.gradient_checkpointing = recompute;
    for (at::Tensor leaf : leaves()) leaf.mutable_grad().reset();
    testing::FirstOfTwo communicator;
    Experience known = experience(prefix);
    (void)accumulate_gradients(known, {0, 1, 2, 3, 4, 5}, ppo_update_rules(setup), *roles,
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
      const auto rows =
          minibatch_rows(ppo_update_rules(setup).minibatches, /*seed=*/1, /*step=*/2, epoch, index);
      EXPECT_EQ(rows.size(), 2u);
      seen.insert(seen.end(), rows.begin(), rows.end());
    }
    epochs.push_back(seen);
    std::ranges::sort(seen);
    EXPECT_EQ(seen, (std::vector<int64_t>{0, 1, 2, 3, 4, 5}));
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_EQ(minibatch_rows(ppo_update_rules(setup).minibatches, 1, 2, 0, 0),
            minibatch_rows(ppo_update_rules(setup).minibatches, 1, 2, 0, 0));
  EXPECT_NE(epochs[0], [&] {
    std::vector<int64_t> other;
    for (int64_t index = 0; index < 3; ++index) {
      const auto rows =
          minibatch_rows(ppo_update_rules(setup).minibatches, 1, /*step=*/3, 0, index);
      other.insert(other.end(), rows.begin(), rows.end());
    }
    return other;
  }());
}

TEST_F(PpoUpdate, MakesEpochsTimesMinibatchesSteps) {
  setup.ppo.num_mini_batches = 3;
  setup.ppo.num_ppo_epochs = 4;
  PolicyOptimizers optimizers(setup.ppo, *roles);
  Experience known = experience();
  update(known, 1, {.policy = 1e-3, .critic = 1e-3}, ppo_update_rules(setup),
         {*roles, optimizers, *alone_});
  int64_t counted = 0;
  for (const OptimizerState& state : {optimizers.policy.state(), optimizers.critic.state()}) {
    for (const auto& [name, tensor] : state) {
      if (!name.ends_with(".step")) continue;
      EXPECT_EQ(tensor.item<double>(), 12) << name;
      ++counted;
    }
  }
  EXPECT_EQ(counted, static_cast<int64_t>(leaves().size()));
}

// target_kl: the first epoch leaves a mean ½ (log ratio)² above 0; a bound below it ends the update
// there, one above it never does.
TEST_F(PpoUpdate, EndsAfterTheEpochThatPassesTargetKl) {
  setup.ppo.num_mini_batches = 2;
  setup.ppo.num_ppo_epochs = 4;
  const auto run = [&](std::optional<double> target) {
    setup.ppo.target_kl = target;
    PolicyOptimizers optimizers(setup.ppo, *roles);
    Experience known = experience();
    const Metrics metrics = update(known, 1, {.policy = 1e-2, .critic = 1e-2},
                                   ppo_update_rules(setup), {*roles, optimizers, *alone_});
    std::map<std::string, double> named(metrics.begin(), metrics.end());
    return std::pair(optimizers.policy.state().back().second.item<double>(), named);
  };
  const auto [early_steps, early] = run(1e-9);
  EXPECT_EQ(early_steps, 2);
  EXPECT_EQ(early.at("policy/num_epochs"), 1);
  const auto [steps, whole] = run(1e9);
  EXPECT_EQ(steps, 8);
  EXPECT_EQ(whole.at("policy/num_epochs"), 4);
  EXPECT_FALSE(run(std::nullopt).second.contains("policy/num_epochs"));
}

double norm(const std::vector<at::Tensor>& gradients) {
  double squares = 0;
  for (const at::Tensor& gradient : gradients) squares += gradient.square().sum().item<double>();
  return std::sqrt(squares);
}

// With a learning rate of 0 each minibatch sees the same parameters.
TEST_F(PpoUpdate, MetricsEqualTheLoopsWrittenOut) {
  rates = {.policy = 0, .critic = 0};
  setup.ppo.num_ppo_epochs = 1;
  setup.ppo.max_grad_norm = 1e-3;  // norms are those before clipping
  for (const int64_t steps : {1, 2}) {
    setup.ppo.num_mini_batches = steps;
    WrittenOut first, all;
    double policy_loss = 0, value_loss = 0, policy_norm = 0, critic_norm = 0;
    for (int64_t index = 0; index < steps; ++index) {
      const auto rows = minibatch_rows(ppo_update_rules(setup).minibatches,
                                       static_cast<uint64_t>(setup.run.seed), 1, 0, index);
      const WrittenOut sums = written_out(rows);
      if (index == 0) first = sums;
      const auto n = static_cast<double>(steps);
      policy_loss += sums.policy.item<double>() / sums.tokens / n;
      value_loss += sums.value.item<double>() / sums.tokens / n;
      policy_norm +=
          norm(torch::autograd::grad({sums.policy / sums.tokens}, roles->policy.parameters())) / n;
      critic_norm += norm(torch::autograd::grad({sums.value * setup.ppo.vf_coef / sums.tokens},
                                                roles->critic->parameters())) /
                     n;
      all.tokens += sums.tokens;
      all.clipped += sums.clipped;
      all.value_clipped += sums.value_clipped;
      all.log_ratio_squares += sums.log_ratio_squares;
      all.entropy += sums.entropy;
      all.ratio += sums.ratio;
      all.ratio_squares += sums.ratio_squares;
    }
    const double mean_ratio = all.ratio / all.tokens;
    const std::map<std::string, double> expected = {
        {"policy/approxkl_avg", all.log_ratio_squares / 2 / all.tokens},
        {"policy/clipfrac_avg", all.clipped / all.tokens},
        {"policy/entropy_avg", all.entropy / all.tokens},
        {"loss/policy_avg", policy_loss},
        {"loss/value_avg", value_loss},
        {"val/clipfrac_avg", all.value_clipped / all.tokens},
        {"val/ratio", mean_ratio},
        {"val/ratio_var", all.ratio_squares / all.tokens - mean_ratio * mean_ratio},
        {"policy/logprob_gap_max", first.gap_max},
        {"policy/logprob_gap_mean", first.gap / first.tokens},
        {"policy/grad_norm", policy_norm},
        {"critic/grad_norm", critic_norm}};
    const auto actual = metrics_of_update();
    ASSERT_EQ(actual.size(), expected.size());
    for (const auto& [name, value] : expected) {
      EXPECT_NEAR(actual.at(name), value, 1e-10 * std::max(1.0, std::abs(value))) << name;
    }
    EXPECT_GT(all.clipped, 0);
    EXPECT_GT(all.value_clipped, 0);
  }
}

// Every setting of an update, and whom it reaches: the policy, the critic (here one with a trunk of
// its own), both or nobody.
TEST_F(PpoUpdate, SettingsReachWhomTheyAreFor) {
  struct Case {
    const char* name;
    std::function<void(PpoSetup&)> change;
    bool policy, critic;
  };
  const std::vector<Case> cases = {
      {"nothing", [](PpoSetup&) {}, false, false},
      {"micro_batch_tokens", [](PpoSetup& s) { s.ppo.micro_batch_tokens = 17; }, false, false},
      {"temperature", [](PpoSetup& s) { s.rollout.temperature = 1.3; }, true, false},
      {"cliprange", [](PpoSetup& s) { s.ppo.cliprange = 0.9; }, true, false},
      {"cliprange_value", [](PpoSetup& s) { s.ppo.cliprange_value = 0.01; }, false, true},
      {"cliprange_high", [](PpoSetup& s) { s.ppo.cliprange_high = 100; }, true, false},
      {"entropy_coef", [](PpoSetup& s) { s.ppo.entropy_coef = 0.9; }, true, false},
      {"vf_coef", [](PpoSetup& s) { s.ppo.vf_coef = 0.9; }, false, true},
      {"max_grad_norm", [](PpoSetup& s) { s.ppo.max_grad_norm = 1e-3; }, true, true},
      {"weight_decay", [](PpoSetup& s) { s.ppo.weight_decay = 0.5; }, true, true},
      {"adam_beta1", [](PpoSetup& s) { s.ppo.adam_beta1 = 0.5; }, true, true},
      {"adam_beta2", [](PpoSetup& s) { s.ppo.adam_beta2 = 0.5; }, true, true},
      {"adam_epsilon", [](PpoSetup& s) { s.ppo.adam_epsilon = 1e-3; }, true, true},
      {"num_ppo_epochs", [](PpoSetup& s) { s.ppo.num_ppo_epochs = 3; }, true, true},
      {"num_mini_batches", [](PpoSetup& s) { s.ppo.num_mini_batches = 2; }, true, true}};
  rates = {.policy = 1e-2, .critic = 1e-2};
  setup.ppo.num_ppo_epochs = 2;
  setup.ppo.adam_epsilon = 0.1;  // else AdamW would hide the gradients' size
  roles->critic->kind = CriticKind::adapter;
  roles->critic->adapter = tiny_adapter(*roles->decoder, /*seed=*/11).to(at::kDouble);
  const PpoSetup plain = setup;
  const Adapter policy = roles->policy, critic = *roles->critic->adapter;
  const at::Tensor head = roles->critic->head.weight;
  const auto trained = [&] {
    roles->policy = policy.clone();
    roles->critic->adapter = critic.clone();
    roles->critic->head.weight = head.detach().clone().requires_grad_(true);
    (void)metrics_of_update();
    return std::pair{roles->policy.parameters(), roles->critic->parameters()};
  };
  const auto moved = [](const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
    double most = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      most = std::max(most, (a[i] - b[i]).abs().max().item<double>());
    }
    return most > 1e-12;
  };
  const auto expected = trained();
  for (const Case& c : cases) {
    setup = plain;
    c.change(setup);
    const auto actual = trained();
    EXPECT_EQ(moved(actual.first, expected.first), c.policy) << c.name;
    EXPECT_EQ(moved(actual.second, expected.second), c.critic) << c.name;
  }
}

}  // namespace
}  // namespace leash

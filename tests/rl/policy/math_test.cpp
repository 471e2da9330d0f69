// The pure functions on numbers that can be checked by hand, on masks with holes, empty masks and
// NaN outside the mask. The hand-made inputs are those of torchtune's tests (test_rewards.py,
// test_ppo_loss.py), whose whiten(shift_mean) means the opposite of ours.
#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "rl/policy/advantages.h"
#include "rl/policy/kl.h"
#include "rl/policy/losses.h"
#include "rl/policy/rewards.h"
#include "tests/rl/json_tensors.h"
#include "tests/rl/policy/ppo_loss.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using testing::all_close;
using testing::leaf;
using testing::ppo_loss;
using testing::same_bits;
using testing::to_tensor;
using Json = nlohmann::json;

constexpr double kTight = 1e-13;
const double kNaN = std::numeric_limits<double>::quiet_NaN();

at::Tensor bools(const Json& value) { return to_tensor(value, at::kBool); }
at::Tensor poison(const at::Tensor& values, const at::Tensor& mask) {
  return at::where(mask, values, kNaN);
}

TEST(Kl, EstimatorsByHand) {
  const at::Tensor p = to_tensor({-1.0, -2.0, -0.5});
  const at::Tensor q = to_tensor({-1.5, -1.0, -0.5});
  EXPECT_TRUE(all_close(kl_estimate(p, q, KlEstimator::k1), to_tensor({0.5, -1.0, 0.0}), kTight));
  EXPECT_TRUE(all_close(kl_estimate(p, q, KlEstimator::k2), to_tensor({0.125, 0.5, 0.0}), kTight));
  EXPECT_TRUE(all_close(kl_estimate(p, q, KlEstimator::k3),
                        to_tensor({std::exp(-0.5) - 1 + 0.5, std::exp(1.0) - 1 - 1.0, 0.0}),
                        kTight));
  EXPECT_THROW(kl_estimate(p, to_tensor({1.0}), KlEstimator::k1), c10::Error);
}

TEST(Kl, K3KeepsItsDigitsNearZero) {
  // x²/2 - x³/6 at x = 1e-5; exp(x) - 1 - x would keep five digits.
  const at::Tensor k3 = kl_estimate(to_tensor({1e-5}), to_tensor({0.0}), KlEstimator::k3);
  EXPECT_NEAR(k3.item<double>() / (0.5e-10 - 1e-15 / 6), 1.0, 1e-9);
}

TEST(Kl, AdaptiveCoefficientFollowsZiegler) {
  AdaptiveKl control{.coefficient = 0.1, .target = 6.0, .horizon = 10000.0};
  control.update(6.6, 256);  // error 0.1
  EXPECT_NEAR(control.coefficient, 0.1 * (1 + 0.1 * 0.0256), 1e-15);
  AdaptiveKl far{.coefficient = 0.1, .target = 6.0, .horizon = 10000.0};
  far.update(60.0, 100);  // clipped to 0.2
  EXPECT_NEAR(far.coefficient, 0.1 * (1 + 0.2 * 0.01), 1e-15);
  far.coefficient = 0.1;
  far.update(0.0, 100);  // clipped to -0.2
  EXPECT_NEAR(far.coefficient, 0.1 * (1 - 0.2 * 0.01), 1e-15);
}

// With fewer episodes to adapt over than one iteration has, Ziegler's factor would fall below 0: a
// price that rewards drift.
TEST(Kl, AdaptiveCoefficientKeepsItsSign) {
  AdaptiveKl control{.coefficient = 0.05, .target = 6.0, .horizon = 1.0};
  control.update(0.0, 32);
  EXPECT_NEAR(control.coefficient, 0.05 * 0.8, 1e-15);
  control.update(60.0, 32);
  EXPECT_NEAR(control.coefficient, 0.05 * 0.8 * 1.2, 1e-15);
}

TEST(Rewards, TorchtunesNumbers) {
  const at::Tensor p = to_tensor({{0.1, 0.2, 0.3}, {0.4, 0.5, 0.6}, {0.6, 0.7, 0.8}});
  const at::Tensor q = to_tensor({{0.2, 0.3, 0.4}, {0.6, 0.7, 0.8}, {0.9, 1.0, 1.1}});
  const at::Tensor kl = kl_estimate(p, q, KlEstimator::k1);
  const at::Tensor rewards =
      shape_rewards(to_tensor({1.0, 2.0, 3.0}), kl, at::ones_like(kl, at::kBool), 0.5);
  EXPECT_TRUE(all_close(
      rewards, to_tensor({{0.05, 0.05, 1.05}, {0.1, 0.1, 2.1}, {0.15, 0.15, 3.15}}), kTight));
}

TEST(Rewards, ScoreLandsOnTheLastTokenOrOnePastIt) {
  const at::Tensor mask = bools({{1, 1, 0, 0}, {1, 1, 1, 1}, {0, 0, 0, 0}});
  const at::Tensor kl = poison(at::full({3, 4}, 2.0, at::kDouble), mask);
  const at::Tensor scores = to_tensor({10.0, 20.0, 30.0});
  EXPECT_TRUE(all_close(shape_rewards(scores, kl, mask, 0.5, ScorePosition::last_token),
                        to_tensor({{-1, 9, 0, 0}, {-1, -1, -1, 19}, {0, 0, 0, 0}}), kTight));
  EXPECT_TRUE(all_close(shape_rewards(scores, kl, mask, 0.5, ScorePosition::after_last),
                        to_tensor({{-1, -1, 10, 0}, {-1, -1, -1, 19}, {30, 0, 0, 0}}), kTight));
}

TEST(Rewards, RefusesMasksWithHoles) {
  const at::Tensor kl = at::zeros({1, 3}, at::kDouble);
  EXPECT_THROW(shape_rewards(to_tensor({1.0}), kl, bools({{1, 0, 1}}), 0.1), c10::Error);
  EXPECT_THROW(shape_rewards(to_tensor({1.0}), kl, bools({{0, 1, 1}}), 0.1), c10::Error);
  EXPECT_THROW(shape_rewards(to_tensor({1.0, 2.0}), kl, bools({{1, 1, 1}}), 0.1), c10::Error);
}

TEST(Rewards, MissingEosIsPenalised) {
  const at::Tensor scores = to_tensor({1.0, -2.0});
  EXPECT_TRUE(
      all_close(penalise_missing_eos(scores, bools({1, 0}), 1.5), to_tensor({1.0, -3.5}), 0));
  EXPECT_TRUE(all_close(scores, to_tensor({1.0, -2.0}), 0));
}

TEST(MaskedStatistics, TorchtunesNumbers) {
  const at::Tensor x = to_tensor({1.0, 2.0, 3.0, 4.0, 5.0});
  const at::Tensor mask = bools({1, 1, 1, 0, 0});
  EXPECT_DOUBLE_EQ(masked_mean(x, mask).item<double>(), 2.0);
  EXPECT_DOUBLE_EQ(masked_var(x, mask).item<double>(), 1.0);
  EXPECT_DOUBLE_EQ(masked_var(x, mask, false).item<double>(), 2.0 / 3);
  const double scale = 1 / std::sqrt(1 + 1e-8);
  EXPECT_TRUE(all_close(masked_whiten(x, mask), to_tensor({-scale, 0.0, scale, 0.0, 0.0}), kTight));
  EXPECT_TRUE(all_close(masked_whiten(x, mask, false),
                        to_tensor({2 - scale, 2.0, 2 + scale, 0.0, 0.0}), kTight));
}

TEST(MaskedStatistics, EmptyAndSingleEntryMasksGiveNoNaN) {
  const at::Tensor x = to_tensor({3.0, kNaN});
  for (const at::Tensor& mask : {bools({0, 0}), bools({1, 0})}) {
    EXPECT_EQ(masked_mean(x, mask).item<double>(), mask.any().item<bool>() ? 3.0 : 0.0);
    EXPECT_EQ(masked_var(x, mask).item<double>(), 0.0);
    EXPECT_EQ(masked_var(x, mask, false).item<double>(), 0.0);
    // One number has no spread: it stays, so that a single answer token is learnt from.
    const double kept = mask.any().item<bool>() ? 3.0 : 0.0;
    EXPECT_TRUE(all_close(masked_whiten(x, mask), to_tensor({kept, 0.0}), 0));
  }
}

TEST(MaskedStatistics, WhatLiesOutsideTheMaskDoesNotMatter) {
  const at::Tensor x = to_tensor({{1.0, -2.0, 4.0}, {0.5, 7.0, 3.0}});
  const at::Tensor mask = bools({{1, 1, 0}, {0, 1, 1}});
  EXPECT_TRUE(same_bits(masked_mean(poison(x, mask), mask), masked_mean(x, mask)));
  EXPECT_TRUE(same_bits(masked_var(poison(x, mask), mask), masked_var(x, mask)));
  EXPECT_TRUE(same_bits(masked_whiten(poison(x, mask), mask), masked_whiten(x, mask)));
}

TEST(Gae, TorchtunesNumbers) {
  const at::Tensor ones = to_tensor({{0.0, 0.0, 0.0, 1.0}});
  const Advantages result = gae(ones, ones, bools({{1, 1, 1, 1}}), 0.9, 0.95);
  const at::Tensor returns =
      to_tensor({{0.9 * 0.9 * 0.9 * 0.95 * 0.95, 0.9 * 0.9 * 0.95, 0.9, 1.0}});
  EXPECT_TRUE(all_close(result.returns, returns, kTight));
  EXPECT_TRUE(all_close(result.advantages, returns - ones, kTight, 1e-16));
  // torchtune masks only the whitening, and adds the mean back.
  const at::Tensor mask = bools({{1, 1, 1, 0}});
  const at::Tensor raw = (returns - ones).narrow(1, 0, 3);
  const at::Tensor white = (raw - raw.mean()) / (raw.var() + 1e-8).sqrt() + raw.mean();
  EXPECT_TRUE(
      all_close(masked_whiten(result.advantages, mask, false).narrow(1, 0, 3), white, 1e-12));
}

// The definition, as a double sum over the masked entries of a row: A_t = Σ_l (γλ)^l δ_{t+l}.
at::Tensor slow_gae(const at::Tensor& rewards, const at::Tensor& values, const at::Tensor& mask,
                    double gamma, double lam) {
  at::Tensor result = at::zeros_like(values);
  for (int64_t row = 0; row < mask.size(0); ++row) {
    std::vector<int64_t> at;
    for (int64_t t = 0; t < mask.size(1); ++t) {
      if (mask[row][t].item<bool>()) at.push_back(t);
    }
    for (size_t i = 0; i < at.size(); ++i) {
      double advantage = 0;
      for (size_t j = i; j < at.size(); ++j) {
        const double next = j + 1 < at.size() ? values[row][at[j + 1]].item<double>() : 0.0;
        const double delta =
            rewards[row][at[j]].item<double>() + gamma * next - values[row][at[j]].item<double>();
        advantage += std::pow(gamma * lam, static_cast<double>(j - i)) * delta;
      }
      result[row][at[i]].fill_(advantage);
    }
  }
  return result;
}

TEST(Gae, MeetsTheDefinitionWithHolesAndIgnoresWhatTheyHold) {
  const at::Tensor rewards =
      to_tensor({{0.3, -1.0, 2.0, 0.1, 5.0}, {1.0, 1.5, -0.2, 0.7, 0.4}, {1, 2, 3, 4, 5}});
  const at::Tensor values =
      to_tensor({{0.2, 0.9, -0.4, 1.1, 8.0}, {-0.6, 0.3, 0.8, -1.2, 0.5}, {5, 4, 3, 2, 1}});
  const at::Tensor mask = bools({{1, 0, 1, 1, 0}, {1, 1, 1, 1, 1}, {0, 0, 0, 0, 0}});
  const Advantages result = gae(rewards, values, mask, 0.9, 0.8);
  const at::Tensor expected = slow_gae(rewards, values, mask, 0.9, 0.8);
  EXPECT_TRUE(all_close(result.advantages, expected, kTight));
  EXPECT_TRUE(all_close(result.returns, at::where(mask, expected + values, 0.0), kTight));
  const Advantages other = gae(poison(rewards, mask), poison(values, mask), mask, 0.9, 0.8);
  EXPECT_TRUE(same_bits(other.advantages, result.advantages));
  EXPECT_TRUE(same_bits(other.returns, result.returns));
  EXPECT_EQ(
      gae(at::zeros({2, 0}), at::zeros({2, 0}), at::zeros({2, 0}, at::kBool), 1, 1).returns.numel(),
      0);
}

double policy_loss_of_shift(double shift, double advantage, double* clipped) {
  const at::Tensor old = to_tensor({0.5, 0.8, 1.2});
  const at::Tensor advantages = at::full_like(old, advantage);
  const SurrogateLoss loss =
      ppo_loss(old + shift, old, advantages, at::ones_like(old, at::kBool), 0.2, 3);
  *clipped = loss.clipped_low + loss.clipped_high;
  EXPECT_NEAR(loss.ratio_sum, 3 * std::exp(shift), 1e-12);
  EXPECT_NEAR(loss.ratio_squares, 3 * std::exp(2 * shift), 1e-11);
  EXPECT_NEAR(loss.approx_kl, 3 * shift * shift / 2, 1e-12);
  return loss.loss.item<double>();
}

TEST(PolicyLoss, TorchtunesCasesClippedHighLowAndNot) {
  struct Case {
    double shift, advantage, loss, clipped;
  };
  for (const Case& c :
       {Case{1, 1, -1.2, 3}, Case{-1, 1, -std::exp(-1.0), 0}, Case{0.1, 1, -std::exp(0.1), 0},
        Case{-1, -1, 0.8, 3}, Case{1, -1, std::exp(1.0), 0}}) {
    double clipped = -1;
    EXPECT_NEAR(policy_loss_of_shift(c.shift, c.advantage, &clipped), c.loss, 1e-12) << c.shift;
    EXPECT_EQ(clipped, c.clipped) << c.shift << " " << c.advantage;
  }
}

TEST(ValueLoss, ByHand) {
  // Row: V, V_old, R. Clipped upwards (worse), clipped away from a better V, inside.
  const at::Tensor values = leaf(to_tensor({2.0, 0.0, 1.1}));
  const at::Tensor old = to_tensor({1.0, 1.0, 1.0});
  const at::Tensor returns = to_tensor({3.0, 0.0, 2.0});
  const ValueLoss loss = value_loss(values, old, returns, bools({1, 1, 1}), 0.2, 4);
  EXPECT_NEAR(loss.loss.item<double>(), (1.8 * 1.8 + 0.8 * 0.8 + 0.9 * 0.9) / 2 / 4, 1e-12);
  EXPECT_EQ(loss.clipped, 2);
  loss.loss.backward();
  EXPECT_TRUE(all_close(values.grad(), to_tensor({0.0, 0.0, -0.9 / 4}), 1e-12, 1e-16));
}

TEST(Losses, MicroBatchesAddUpToTheMinibatch) {
  const at::Tensor old = to_tensor({{-1.0, -2.0, -0.3}, {-0.7, -1.1, -2.2}});
  const at::Tensor shift = to_tensor({{0.1, -0.5, 0.4}, {0.3, 0.0, -0.2}});
  const at::Tensor advantages = to_tensor({{1.0, -0.4, 2.0}, {-1.5, 0.6, 0.2}});
  const at::Tensor mask = bools({{1, 1, 0}, {1, 1, 1}});
  const at::Tensor whole = leaf(old + shift);
  ppo_loss(whole, old, advantages, mask, 0.2, 5).loss.backward();
  const at::Tensor parts = leaf(old + shift);
  for (int64_t row = 0; row < 2; ++row) {
    ppo_loss(parts[row], old[row], advantages[row], mask[row], 0.2, 5).loss.backward();
  }
  EXPECT_TRUE(all_close(parts.grad(), whole.grad(), kTight));
}

TEST(Losses, NaNOutsideTheMaskReachesNeitherLossNorGradient) {
  const at::Tensor mask = bools({1, 1, 0});
  const at::Tensor a = to_tensor({-1.0, -2.0, 0.5});
  const at::Tensor b = to_tensor({-1.1, -1.7, 0.4});
  const at::Tensor c = to_tensor({1.0, -1.0, 3.0});
  const at::Tensor clean = leaf(a), poisoned = leaf(poison(a, mask));
  const auto all = [&](const at::Tensor& x) { return poison(x, mask); };
  const SurrogateLoss p1 = ppo_loss(clean, b, c, mask, 0.2, 2);
  const SurrogateLoss p2 = ppo_loss(poisoned, all(b), all(c), mask, 0.2, 2);
  const ValueLoss v1 = value_loss(clean, b, c, mask, 0.2, 2);
  const ValueLoss v2 = value_loss(poisoned, all(b), all(c), mask, 0.2, 2);
  (p1.loss + v1.loss).backward();
  (p2.loss + v2.loss).backward();
  EXPECT_TRUE(same_bits(p2.loss, p1.loss));
  EXPECT_TRUE(same_bits(v2.loss, v1.loss));
  EXPECT_TRUE(same_bits(poisoned.grad(), clean.grad()));
  EXPECT_EQ(p2.ratio_sum, p1.ratio_sum);
  EXPECT_EQ(p2.approx_kl, p1.approx_kl);
  EXPECT_EQ(clean.grad()[2].item<double>(), 0.0);
}

TEST(Losses, AnEmptyMicroBatchIsZeroAndAnEmptyMinibatchAnError) {
  const at::Tensor x = at::zeros({3}, at::kDouble);
  const at::Tensor mask = bools({0, 0, 0});
  const SurrogateLoss loss = ppo_loss(x, x, x, mask, 0.2, 7);
  EXPECT_EQ(loss.loss.item<double>(), 0.0);
  EXPECT_EQ(loss.ratio_sum, 0.0);
  EXPECT_EQ(value_loss(x, x, x, mask, 0.2, 7).loss.item<double>(), 0.0);
  EXPECT_THROW(ppo_loss(x, x, x, mask, 0.2, 0), c10::Error);
  EXPECT_THROW(value_loss(x, x, x, mask, 0.2, 0), c10::Error);
}

TEST(Rewards, OverlongAnswersLoseByTheToken) {
  const at::Tensor lengths = to_tensor({1, 12, 15, 20}, at::kLong);
  EXPECT_TRUE(all_close(overlong_penalties(lengths, /*longest=*/20, /*buffer=*/8, /*factor=*/0.5),
                        to_tensor({0.0, 0.0, 0.1875, 0.5}), kTight));
}

TEST(PpoMath, InputsAreLeftAlone) {
  const at::Tensor a = to_tensor({{-1.0, -2.0}}), b = to_tensor({{-1.5, -1.0}});
  const at::Tensor a0 = a.clone(), b0 = b.clone(), mask = bools({{1, 0}});
  kl_estimate(a, b, KlEstimator::k3);
  shape_rewards(to_tensor({1.0}), a, mask, 0.1);
  gae(a, b, mask, 0.9, 0.9);
  masked_whiten(a, mask, false);
  ppo_loss(a, b, b, mask, 0.2, 1);
  value_loss(a, b, b, mask, 0.2, 1);
  EXPECT_TRUE(same_bits(a, a0));
  EXPECT_TRUE(same_bits(b, b0));
}

}  // namespace
}  // namespace leash

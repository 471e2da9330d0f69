// The reward model's loss: TRL's numbers (tests/golden/make_reward.py), and what TRL has not.
#include "rl/reward_model/loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "rl/reward_model/update.h"
#include "tests/rl/json_tensors.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using testing::all_close;
using testing::leaf;
using testing::to_tensor;

double log_sigmoid(double x) { return -std::log1p(std::exp(-x)); }

at::Tensor numbers(const std::vector<double>& values) { return at::tensor(values, at::kDouble); }

TEST(GoldenRewardLoss, LossAndGradientsAreTrls) {
  const nlohmann::json cases = testing::read_golden("reward/losses.json");
  ASSERT_EQ(cases.size(), 5u);
  for (const auto& expected : cases) {
    const at::Tensor chosen = leaf(to_tensor(expected["chosen"]));
    const at::Tensor rejected = leaf(to_tensor(expected["rejected"]));
    const auto& coefficient = expected["coefficient"];
    const at::Tensor loss = reward_loss(
        chosen, rejected, to_tensor(expected["margin"]),
        {.center_rewards_coefficient = coefficient.is_null() ? 0.0 : coefficient.get<double>()},
        static_cast<double>(chosen.size(0)));
    EXPECT_NEAR(loss.item<double>(), expected["loss"].get<double>(), 1e-12);
    const auto gradients = torch::autograd::grad({loss}, {chosen, rejected});
    EXPECT_TRUE(all_close(gradients[0], to_tensor(expected["chosen_gradient"]), 0, 1e-12));
    EXPECT_TRUE(all_close(gradients[1], to_tensor(expected["rejected_gradient"]), 0, 1e-12));
  }
}

TEST(RewardLoss, SmoothingIsTheExpectationOverWrongLabels) {
  const at::Tensor chosen = numbers({0.7, -1.2}), rejected = numbers({0.1, 0.4});
  const at::Tensor margins = numbers({0.5, 0.0});
  const double loss =
      reward_loss(chosen, rejected, margins, {.label_smoothing = 0.2}, 2.0).item<double>();
  const double first = -0.8 * log_sigmoid(0.1) - 0.2 * log_sigmoid(-0.1);
  const double second = -0.8 * log_sigmoid(-1.6) - 0.2 * log_sigmoid(1.6);
  EXPECT_NEAR(loss, (first + second) / 2, 1e-14);
}

TEST(RewardLoss, ATieIsHalfAPairEitherWay) {
  const at::Tensor chosen = numbers({0.7, -1.2}), rejected = numbers({0.1, 0.4});
  const at::Tensor none = numbers({0.0, 0.0});
  const RewardLossOptions options{.center_rewards_coefficient = 0.1, .label_smoothing = 0.2};
  const double one = reward_loss(chosen, rejected, none, options, 2.0).item<double>();
  const double other = reward_loss(rejected, chosen, none, options, 2.0).item<double>();
  const double ties =
      reward_loss(chosen, rejected, none, options, 2.0, numbers({1, 1})).item<double>();
  EXPECT_NEAR(ties, (one + other) / 2, 1e-14);
  EXPECT_NEAR(reward_loss(chosen, rejected, none, options, 2.0, none).item<double>(), one, 1e-14);
}

TEST(RewardLoss, SmoothingIsAtItsLeastWhereTheOddsAreThoseOfTheLabels) {
  const double best = std::log(0.9 / 0.1);
  const auto at = [&](double difference) {
    return reward_loss(numbers({difference}), numbers({0.0}), numbers({0.0}),
                       {.label_smoothing = 0.1}, 1.0)
        .item<double>();
  };
  EXPECT_LT(at(best), at(best + 0.01));
  EXPECT_LT(at(best), at(best - 0.01));
}

TEST(RewardLoss, PartsOfABatchAddUp) {
  const std::vector<double> c = {0.3, -0.2, 1.5}, r = {0.9, -0.4, 0.0}, m = {0.0, 0.3, 0.1};
  const RewardLossOptions options{.center_rewards_coefficient = 0.05, .label_smoothing = 0.1};
  const double whole = reward_loss(numbers(c), numbers(r), numbers(m), options, 3.0).item<double>();
  double parts = 0;
  for (size_t i = 0; i < 3; ++i) {
    parts +=
        reward_loss(numbers({c[i]}), numbers({r[i]}), numbers({m[i]}), options, 3.0).item<double>();
  }
  EXPECT_NEAR(parts, whole, 1e-14);
}

TEST(RewardLoss, LargeDifferencesStayFinite) {
  const at::Tensor chosen = leaf(numbers({-1e4}));
  const at::Tensor loss =
      reward_loss(chosen, numbers({1e4}), numbers({0.0}), {.label_smoothing = 0.1}, 1.0);
  EXPECT_NEAR(loss.item<double>(), 0.9 * 2e4, 1e-6);
  EXPECT_NEAR(torch::autograd::grad({loss}, {chosen})[0].item<double>(), -0.9, 1e-12);
}

TEST(RewardLoss, ProbabilitiesAreTheSigmoidOfTheDifference) {
  EXPECT_EQ(preference_probability(0.4, 0.4), 0.5);
  EXPECT_NEAR(preference_probability(2.0, 1.0), std::exp(log_sigmoid(1.0)), 1e-15);
  EXPECT_NEAR(preference_probability(1.0, 2.0) + preference_probability(2.0, 1.0), 1.0, 1e-15);
}

}  // namespace
}  // namespace leash

// PPO's mathematics against TRL 1.12, executed by tests/golden/make_ppo_math.py, under TRL's
// conventions: score one past the last token, values kept there, advantages whitened, one
// micro-batch.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

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
using testing::read_golden;
using testing::to_tensor;

struct Trl {
  at::Tensor lengths;      // [batch], answer tokens as TRL counts them
  at::Tensor mask;         // [batch, time]
  at::Tensor mask_values;  // [batch, time], one more entry per row (TRL's padding_mask_p1)
};

// Lengths from the answers' tokens: up to and including EOS. With pad == eos TRL loses that EOS.
Trl trl_masks(const nlohmann::json& golden) {
  std::vector<int64_t> lengths;
  for (const auto& row : golden["inputs"]["responses"]) {
    int64_t length = 0;
    while (length < static_cast<int64_t>(row.size()) && row[length] != golden["eos"]) ++length;
    const bool ended = length < static_cast<int64_t>(row.size());
    if (ended && !golden["settings"]["pad_is_eos"].get<bool>()) ++length;
    lengths.push_back(length);
  }
  const auto time = static_cast<int64_t>(golden["inputs"]["responses"][0].size());
  Trl trl;
  trl.lengths = to_tensor(lengths, at::kLong);
  const at::Tensor columns = at::arange(time, at::kLong).unsqueeze(0);
  trl.mask = columns < trl.lengths.unsqueeze(1);
  trl.mask_values = columns <= trl.lengths.unsqueeze(1);
  return trl;
}

struct Tolerance {
  double relative;
  double absolute;  // sums of terms of order one cancel
};

class PpoMathOfTrl : public ::testing::TestWithParam<std::tuple<int, at::ScalarType>> {
 protected:
  void SetUp() override {
    golden_ = read_golden("ppo_math.json")["cases"][std::get<0>(GetParam())];
    dtype_ = std::get<1>(GetParam());
    tolerance_ = dtype_ == at::kDouble ? Tolerance{1e-12, 1e-14} : Tolerance{1e-5, 2e-6};
    trl_ = trl_masks(golden_);
  }
  at::Tensor input(const char* name) const { return to_tensor(golden_["inputs"][name], dtype_); }
  at::Tensor output(const char* name) const { return to_tensor(golden_["outputs"][name]); }
  double number(const char* name) const { return golden_["settings"][name].get<double>(); }
  void expect(const at::Tensor& actual, const char* name) const {
    EXPECT_EQ(actual.scalar_type(), dtype_) << name;
    EXPECT_TRUE(all_close(actual, output(name), tolerance_.relative, tolerance_.absolute)) << name;
  }
  at::Tensor scores() const {
    if (golden_["settings"]["missing_eos_penalty"].is_null()) return input("scores");
    return penalise_missing_eos(input("scores"), to_tensor(golden_["outputs"]["ended"], at::kBool),
                                number("missing_eos_penalty"));
  }
  KlEstimator estimator() const {
    return golden_["settings"]["kl_estimator"] == "k1" ? KlEstimator::k1 : KlEstimator::k3;
  }

  nlohmann::json golden_;
  at::ScalarType dtype_ = at::kDouble;
  Tolerance tolerance_{};
  Trl trl_;
};

TEST_P(PpoMathOfTrl, KlRewardsAdvantagesAndReturns) {
  EXPECT_TRUE(at::equal(trl_.lengths, to_tensor(golden_["outputs"]["lengths"], at::kLong)));
  const at::Tensor kl = kl_estimate(input("logprobs"), input("reference_logprobs"), estimator());
  expect(kl.where(trl_.mask, at::zeros_like(kl)), "kl");
  expect(scores(), "scores");
  at::Tensor rewards =
      shape_rewards(scores(), kl, trl_.mask, number("kl_coef"), ScorePosition::after_last);
  if (golden_["settings"]["whiten_rewards"].get<bool>()) {
    rewards = masked_whiten(rewards, trl_.mask_values, /*shift_mean=*/false);
  }
  expect(rewards, "rewards");
  const Advantages result =
      gae(rewards, input("values"), trl_.mask_values, number("gamma"), number("lam"));
  expect(result.returns, "returns");
  expect(masked_whiten(result.advantages, trl_.mask), "advantages");
}

TEST_P(PpoMathOfTrl, PolicyLossAndItsGradient) {
  const at::Tensor logprobs = leaf(input("new_logprobs"));
  const auto tokens = trl_.mask.sum().item<double>();
  const SurrogateLoss loss = ppo_loss(logprobs, input("logprobs"), output("advantages").to(dtype_),
                                      trl_.mask, number("cliprange"), tokens);
  loss.loss.backward();
  expect(loss.loss, "policy_loss");
  expect(logprobs.grad(), "policy_gradient");
  const double clipped = loss.clipped_low + loss.clipped_high;
  EXPECT_NEAR(clipped / tokens, output("policy_clipped").item<double>(), 1e-6);  // TRL: float
  // TRL takes these two means over the padding as well, where the ratio is 1.
  const auto all = static_cast<double>(trl_.mask.numel());
  const double tolerance = tolerance_.relative;
  EXPECT_NEAR(loss.approx_kl / all, output("approx_kl").item<double>(), tolerance);
  EXPECT_NEAR((loss.ratio_sum + all - tokens) / all, output("ratio").item<double>(), tolerance);
}

TEST_P(PpoMathOfTrl, ValueLossItsGradientAndTheJointLoss) {
  const at::Tensor values = leaf(input("new_values"));
  const auto tokens = trl_.mask_values.sum().item<double>();
  const ValueLoss loss = value_loss(values, input("values"), output("returns").to(dtype_),
                                    trl_.mask_values, number("cliprange_value"), tokens);
  loss.loss.backward();
  expect(loss.loss, "value_loss");
  expect(values.grad(), "value_gradient");
  EXPECT_NEAR(loss.clipped / tokens, output("value_clipped").item<double>(), 1e-6);
  expect(output("policy_loss").to(dtype_) + number("vf_coef") * loss.loss.detach(), "loss");
}

INSTANTIATE_TEST_SUITE_P(Golden, PpoMathOfTrl,
                         ::testing::Combine(::testing::Range(0, 6),
                                            ::testing::Values(at::kDouble, at::kFloat)));

}  // namespace
}  // namespace leash

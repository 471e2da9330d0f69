// Loss scaling against torch.amp.GradScaler (tests/golden/make_grad_scaler.py), and its rules.
#include "rl/optim/grad_scaler.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <limits>

#include "models/errors.h"
#include "tests/rl/json_tensors.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using testing::leaf;
using testing::read_golden;
using testing::same_bits;
using testing::to_tensor;
using Json = nlohmann::json;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

GradScalerConfig config_of(const Json& entry) {
  GradScalerConfig config;
  config.init_scale = entry.value("init_scale", config.init_scale);
  config.growth_factor = entry.value("growth_factor", config.growth_factor);
  config.backoff_factor = entry.value("backoff_factor", config.backoff_factor);
  config.growth_interval = entry.value("growth_interval", config.growth_interval);
  return config;
}

at::Tensor with_gradient(const std::vector<double>& values) {
  at::Tensor parameter = leaf(at::zeros({static_cast<int64_t>(values.size())}, at::kFloat));
  parameter.mutable_grad() = to_tensor(values, at::kFloat);
  return parameter;
}

// The generator's run: SGD with a rate of 1, whose gradients are the step's number and the scale's.
void expect_torch(const Json& entry) {
  GradScaler scaler(config_of(entry["config"]));
  at::Tensor fine = leaf(at::zeros({2}, at::kFloat)), other = leaf(at::zeros({1}, at::kFloat));
  const std::string pattern = entry["pattern"];
  for (size_t step = 0; step < pattern.size(); ++step) {
    SCOPED_TRACE(pattern + " step " + std::to_string(step + 1));
    const Json& expected = entry["steps"][step];
    EXPECT_EQ(scaler.scale(), expected["loss_scale"].get<double>());
    const double count = static_cast<double>(step) + 1;
    const double kind = pattern[step] == '.' ? 0.5 : pattern[step] == 'i' ? kInfinity : NAN;
    fine.mutable_grad() =
        to_tensor(Json::array({count / 64, -count / 8}), at::kFloat) * scaler.scale();
    other.mutable_grad() = to_tensor(Json::array({kind}), at::kFloat) * scaler.scale();
    const bool finite = scaler.unscale({fine, other});
    if (finite) {
      fine.detach().sub_(fine.grad());
      other.detach().sub_(other.grad());
    }
    scaler.update(!finite);
    EXPECT_EQ(!finite, expected["skipped"].get<bool>());
    EXPECT_EQ(scaler.scale(), expected["scale"].get<double>());
    EXPECT_EQ(scaler.state().growth_tracker, expected["growth_tracker"].get<int64_t>());
    const Json& values = expected["values"];
    EXPECT_TRUE(
        same_bits(fine.detach(), to_tensor(Json::array({values[0], values[1]}), at::kFloat)));
    EXPECT_TRUE(same_bits(other.detach(), to_tensor(Json::array({values[2]}), at::kFloat)));
  }
}

TEST(GoldenGradScaler, ScalesAndSkippedStepsOfTorch) {
  const Json golden = read_golden("grad_scaler.json");
  EXPECT_EQ(golden["cases"].size(), 5u);
  for (const Json& entry : golden["cases"]) expect_torch(entry);
}

TEST(GradScaler, FindsAnOverflowInAnyGradient) {
  const GradScaler scaler({.init_scale = 4});
  const at::Tensor none = leaf(at::zeros({3}, at::kFloat));  // no gradient
  const at::Tensor fine = with_gradient({8, -2});
  EXPECT_TRUE(scaler.unscale({none, fine}));
  EXPECT_TRUE(same_bits(fine.grad(), to_tensor({2, -0.5}, at::kFloat)));
  EXPECT_FALSE(none.grad().defined());
  for (const double bad : {kInfinity, -kInfinity, static_cast<double>(NAN)}) {
    EXPECT_FALSE(scaler.unscale({fine, with_gradient({1, bad}), none}));
  }
  EXPECT_TRUE(scaler.unscale({none}));
  EXPECT_TRUE(scaler.unscale({}));
}

TEST(GradScaler, GoesOnFromASavedState) {
  GradScaler whole({.growth_interval = 3});
  for (const bool overflow : {true, false, false}) whole.update(overflow);
  GradScaler resumed({.growth_interval = 3});
  resumed.load_state(whole.state());
  EXPECT_EQ(resumed.state(), (GradScalerState{.scale = 32768, .growth_tracker = 2}));
  resumed.update(false);
  EXPECT_EQ(resumed.state(), (GradScalerState{.scale = 65536, .growth_tracker = 0}));
  for (const GradScalerState& bad : {GradScalerState{.scale = 0},
                                     {.scale = -1},
                                     {.scale = kInfinity},
                                     {.scale = NAN},
                                     {.scale = 0.1},  // no float has this value
                                     {.scale = 2, .growth_tracker = -1}}) {
    EXPECT_THROW(resumed.load_state(bad), FormatError);
  }
  EXPECT_EQ(resumed.scale(), 65536);
}

TEST(GradScaler, RefusesFactorsThatDoNotShrinkOrGrow) {
  EXPECT_THROW(GradScaler({.init_scale = 0}), c10::Error);
  EXPECT_THROW(GradScaler({.init_scale = 1e39}), c10::Error);
  EXPECT_THROW(GradScaler({.growth_factor = 1}), c10::Error);
  EXPECT_THROW(GradScaler({.backoff_factor = 1}), c10::Error);
  EXPECT_THROW(GradScaler({.backoff_factor = 0}), c10::Error);
  EXPECT_THROW(GradScaler({.growth_interval = 0}), c10::Error);
}

}  // namespace
}  // namespace leash

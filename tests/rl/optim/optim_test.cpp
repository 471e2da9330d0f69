// Schedules, AdamW and clipping against transformers and torch (tests/golden/make_optim.py), and
// AdamW's saved state.
#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "models/errors.h"
#include "models/random/random.h"
#include "rl/optim/adamw.h"
#include "rl/optim/schedule.h"
#include "tests/rl/json_tensors.h"
#include "tests/rl/optim/states.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using testing::all_close;
using testing::copy_of;
using testing::leaf;
using testing::read_golden;
using testing::same_bits;
using testing::to_tensor;
using Json = nlohmann::json;

SchedulerType scheduler_type(const std::string& name) {
  for (const auto& [value, known] : EnumNames<SchedulerType>::values) {
    if (known == name) return value;
  }
  throw std::runtime_error("no schedule " + name);
}

ScheduleConfig schedule_of(const Json& golden, const Json& entry) {
  ScheduleConfig config;
  config.type = scheduler_type(entry["type"]);
  config.learning_rate = golden["learning_rate"];
  config.total_steps = golden["total_steps"];
  const double warmup = entry["warmup"];
  if (warmup >= 1) {
    config.warmup_steps = static_cast<int64_t>(warmup);
    config.warmup_ratio = 0.9;  // loses
  } else {
    config.warmup_ratio = warmup;
  }
  const Json& settings = entry["settings"];
  config.num_cycles = settings.value("num_cycles", config.num_cycles);
  config.min_lr_rate = settings.value("min_lr_rate", settings.value("min_lr_ratio", 0.0));
  config.lr_end = settings.value("lr_end", config.lr_end);
  config.power = settings.value("power", config.power);
  config.decay_steps = settings.value("num_decay_steps", config.decay_steps);
  return config;
}

TEST(GoldenSchedule, TransformersRatesAtEveryStep) {
  const Json golden = read_golden("optim.json")["schedules"];
  EXPECT_EQ(golden["cases"].size(), 55u);
  for (const Json& entry : golden["cases"]) {
    const ScheduleConfig config = schedule_of(golden, entry);
    for (size_t step = 0; step < entry["rates"].size(); ++step) {
      const double expected = entry["rates"][step];
      EXPECT_NEAR(learning_rate_at(config, static_cast<int64_t>(step)), expected,
                  1e-12 * expected + 1e-19)
          << entry["type"] << " " << entry["settings"] << " warm-up " << entry["warmup"] << " step "
          << step;
    }
  }
}

TEST(Schedule, StepsCountFromZero) {
  EXPECT_THROW(learning_rate_at({.total_steps = 3}, -1), c10::Error);
}

std::vector<at::Tensor> leaves(const Json& starts, at::ScalarType dtype) {
  std::vector<at::Tensor> result;
  for (const Json& start : starts) result.push_back(leaf(to_tensor(start, dtype)));
  return result;
}

void set_grads(std::vector<at::Tensor>& parameters, const Json& grads) {
  for (size_t i = 0; i < parameters.size(); ++i) {
    parameters[i].mutable_grad().reset();
    if (grads[i].is_null()) continue;
    parameters[i].mutable_grad() = to_tensor(grads[i], parameters[i].scalar_type());
  }
}

AdamWConfig adamw_config(const Json& entry) {
  return {entry["beta1"], entry["beta2"], entry["epsilon"], entry["weight_decay"]};
}

void expect_torch(const Json& golden, const Json& entry, at::ScalarType dtype, double tolerance) {
  auto parameters = leaves(golden["starts"], dtype);
  AdamW optimizer(parameters, adamw_config(entry));
  const Json& expected = entry[dtype == at::kDouble ? "float64" : "float32"];
  for (size_t step = 0; step < golden["grads"].size(); ++step) {
    set_grads(parameters, golden["grads"][step]);
    optimizer.step(golden["learning_rates"][step]);
    for (size_t i = 0; i < parameters.size(); ++i) {
      EXPECT_TRUE(all_close(parameters[i], to_tensor(expected["trace"][step][i]), tolerance))
          << "step " << step << " parameter " << i;
    }
  }
  const auto state = optimizer.state();
  ASSERT_EQ(state.size(), 9u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(all_close(state[3 * i].second, to_tensor(expected["moments"][i][0]), tolerance));
    EXPECT_TRUE(
        all_close(state[3 * i + 1].second, to_tensor(expected["moments"][i][1]), tolerance));
    EXPECT_EQ(state[3 * i + 2].second.item<int64_t>(), i == 2 ? 7 : 10);
  }
}

TEST(GoldenAdamW, TenStepsOfTorch) {
  const Json golden = read_golden("optim.json")["adamw"];
  for (const Json& entry : golden["cases"]) {
    expect_torch(golden, entry, at::kDouble, 1e-13);
    expect_torch(golden, entry, at::kFloat, 1e-6);
  }
}

TEST(GoldenClipGradNorm, TorchsGradients) {
  const Json golden = read_golden("optim.json");
  for (const Json& entry : golden["clipping"]) {
    auto parameters = leaves(golden["adamw"]["starts"], at::kDouble);
    parameters.push_back(leaf(at::zeros({2}, at::kDouble)));  // never a gradient
    set_grads(parameters, [&] {
      Json grads = golden["adamw"]["grads"][1];
      grads.push_back(nullptr);
      return grads;
    }());
    const double norm = clip_grad_norm(parameters, entry["max_norm"]);
    EXPECT_NEAR(norm, entry["norm"].get<double>(), 1e-12);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_TRUE(all_close(parameters[i].grad(), to_tensor(entry["grads"][i]), 1e-12));
    }
    EXPECT_FALSE(parameters[3].grad().defined());
  }
}

at::Tensor with_grad(const std::vector<double>& grad) {
  at::Tensor parameter = leaf(at::zeros({static_cast<int64_t>(grad.size())}, at::kDouble));
  parameter.mutable_grad() = to_tensor(grad);
  return parameter;
}

TEST(ClipGradNorm, MaxNormZeroOnlyMeasures) {
  const at::Tensor parameter = with_grad({3.0, 4.0});
  EXPECT_DOUBLE_EQ(clip_grad_norm({parameter}, 0), 5.0);
  EXPECT_TRUE(same_bits(parameter.grad(), to_tensor({3.0, 4.0})));
  EXPECT_EQ(clip_grad_norm({}, 1.0), 0.0);
  EXPECT_THROW(clip_grad_norm({parameter}, -1), c10::Error);
}

TEST(ClipGradNorm, ANormThatIsNotFiniteIsReturnedAndScalesNothing) {
  const double infinity = std::numeric_limits<double>::infinity();
  const at::Tensor infinite = with_grad({infinity, 4.0}), fine = with_grad({3.0});
  EXPECT_EQ(clip_grad_norm({infinite, fine}, 1.0), infinity);
  EXPECT_TRUE(same_bits(fine.grad(), to_tensor({3.0})));
  EXPECT_TRUE(same_bits(infinite.grad(), to_tensor({infinity, 4.0})));
  const at::Tensor nan = with_grad({std::nan(""), 4.0});
  EXPECT_TRUE(std::isnan(clip_grad_norm({fine, nan}, 1.0)));
  EXPECT_TRUE(same_bits(fine.grad(), to_tensor({3.0})));
}

// However parameters are put together, each gets its own update; one without a gradient stands
// still, and its step count with it.
TEST(AdamW, ParametersInSeveralGroups) {
  const AdamWConfig config{.weight_decay = 0.1};
  std::vector<at::Tensor> together, apart;
  uint64_t index = 0;
  for (const int64_t size : {2'500'000, 2'500'000, 7, 6'000'000, 3}) {
    const at::Tensor values = normal_tensor(DrawKey{21, Purpose::noise, index++}, {size}, 0, 1);
    together.push_back(values.clone().requires_grad_(true));
    apart.push_back(values.clone().requires_grad_(true));
  }
  AdamW all(together, config);
  std::vector<AdamW> each;
  for (const at::Tensor& parameter : apart) each.emplace_back(std::vector{parameter}, config);
  for (int step = 0; step < 2; ++step) {
    for (size_t i = 0; i < together.size(); ++i) {
      if (step == 0 && i == 2) continue;
      const at::Tensor gradient = together[i].detach().mul(0.5).add(1);
      together[i].mutable_grad() = gradient;
      apart[i].mutable_grad() = gradient.clone();
    }
    all.step(0.01);
    for (AdamW& one : each) one.step(0.01);
  }
  for (size_t i = 0; i < together.size(); ++i) {
    EXPECT_TRUE(testing::same_bits(together[i].detach(), apart[i].detach())) << i;
  }
}

TEST(AdamW, ResumesBitwise) {
  const Json golden = read_golden("optim.json")["adamw"];
  const AdamWConfig config = adamw_config(golden["cases"][1]);
  const auto steps = [&](AdamW& optimizer, std::vector<at::Tensor>& parameters, size_t from,
                         size_t to) {
    for (size_t step = from; step < to; ++step) {
      set_grads(parameters, golden["grads"][step]);
      optimizer.step(golden["learning_rates"][step]);
    }
  };
  auto whole = leaves(golden["starts"], at::kFloat);
  AdamW uninterrupted(whole, config);
  steps(uninterrupted, whole, 0, 10);

  auto first = leaves(golden["starts"], at::kFloat);
  AdamW before(first, config);
  steps(before, first, 0, 5);
  std::vector<at::Tensor> second;
  for (const at::Tensor& parameter : first) second.push_back(leaf(parameter.detach()));
  AdamW after(second, config);
  after.load_state(copy_of(before.state()));
  steps(before, first, 5, 6);  // the copy must not follow
  steps(after, second, 5, 10);
  for (size_t i = 0; i < whole.size(); ++i) EXPECT_TRUE(same_bits(second[i], whole[i])) << i;
  for (size_t i = 0; i < 9; ++i) {
    EXPECT_EQ(after.state()[i].first, uninterrupted.state()[i].first);
    EXPECT_TRUE(same_bits(after.state()[i].second, uninterrupted.state()[i].second)) << i;
  }
}

TEST(AdamW, RefusesAStateThatDoesNotFitAndKeepsItsOwn) {
  auto parameter = with_grad({3.0, 4.0});
  AdamW optimizer({parameter}, {});
  optimizer.step(0.1);
  const OptimizerState good = copy_of(optimizer.state());
  const auto refuses = [&](const char* name, const at::Tensor& value) {
    OptimizerState bad = good;
    for (auto& entry : bad) {
      if (entry.first == name) entry.second = value;
    }
    EXPECT_THROW(optimizer.load_state(bad), FormatError) << name;
  };
  refuses("0.exp_avg", at::zeros({3}, at::kDouble));
  refuses("0.exp_avg_sq", at::zeros({2}, at::kFloat));
  refuses("0.step", at::scalar_tensor(-1, at::kLong));
  refuses("0.step", at::scalar_tensor(1, at::kDouble));
  OptimizerState missing(good.begin(), good.end() - 1);
  EXPECT_THROW(optimizer.load_state(missing), FormatError);
  OptimizerState renamed = good;
  renamed[0].first = "1.step";
  EXPECT_THROW(optimizer.load_state(renamed), FormatError);
  OptimizerState twice = good;
  twice.push_back(good[0]);
  EXPECT_THROW(optimizer.load_state(twice), FormatError);
  for (const auto& [name, value] : good) {
    for (const auto& [own, kept] : optimizer.state()) {
      if (own == name) {
        EXPECT_TRUE(same_bits(kept, value)) << name;
      }
    }
  }
}

TEST(AdamW, ZeroGradDropsGradientsAndStepThenLeavesEverythingAlone) {
  auto parameter = with_grad({3.0, 4.0});
  AdamW optimizer({parameter}, {.weight_decay = 0.1});
  optimizer.zero_grad();
  EXPECT_FALSE(parameter.grad().defined());
  optimizer.step(0.1);
  EXPECT_TRUE(same_bits(parameter, at::zeros({2}, at::kDouble)));
  EXPECT_EQ(optimizer.state()[2].second.item<int64_t>(), 0);
}

}  // namespace
}  // namespace leash

// Losses and advantages of the tasks without a critic against TRL 1.16 (and REINFORCE++'s loops),
// executed by tests/golden/make_grpo.py.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "rl/grpo/task.h"
#include "rl/policy/group_shape.h"
#include "rl/policy/importance.h"
#include "rl/reinforce/task.h"
#include "rl/rloo/task.h"
#include "tests/rl/json_tensors.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using testing::all_close;
using testing::leaf;
using testing::read_golden;
using testing::to_tensor;
using Json = nlohmann::json;

const Json& trl_golden() {
  static const Json json = read_golden("grpo.json");
  return json;
}

template <class Enum>
Enum enum_named(const std::string& name) {
  for (const auto& [value, known] : EnumNames<Enum>::values) {
    if (known == name) return value;
  }
  throw std::runtime_error(name);
}

std::vector<int64_t> trl_lengths() { return trl_golden()["lengths"].get<std::vector<int64_t>>(); }

at::Tensor trl_mask() {
  const at::Tensor columns = at::arange(trl_golden()["longest"].get<int64_t>(), at::kLong);
  return columns.unsqueeze(0) < at::tensor(trl_lengths(), at::kLong).unsqueeze(1);
}

// What an iteration would know of the answers.
Experience trl_experience() {
  Experience result;
  for (const int64_t length : trl_lengths()) {
    Completion answer;
    answer.token_ids.assign(static_cast<size_t>(length), 1);
    answer.stop = StopReason::eos;
    result.answers.push_back(answer);
  }
  result.mask = trl_mask();
  result.logprobs = to_tensor(trl_golden()["old"]);
  result.reference_logprobs = to_tensor(trl_golden()["reference"]);
  result.entropies = to_tensor(trl_golden()["entropies"]);
  result.scores = to_tensor(trl_golden()["rewards"]);
  return result;
}

// A recipe of GRPO with these settings of TRL's.
GrpoSetup trl_setup(const Json& settings) {
  GrpoSetup setup;
  GrpoConfig& grpo = setup.grpo;
  setup.rollout.response_length = trl_golden()["longest"];
  grpo.batch_size = 8;
  grpo.num_generations = trl_golden()["group"];
  grpo.num_mini_batches = settings.value("num_mini_batches", 1);
  grpo.loss_type = enum_named<GrpoLoss>(settings.value("loss_type", "dapo"));
  grpo.importance_sampling_level =
      enum_named<RatioLevel>(settings.value("importance_sampling_level", "token"));
  grpo.epsilon = settings.value("epsilon", 0.2);
  if (settings.contains("epsilon_high")) grpo.epsilon_high = settings["epsilon_high"];
  if (settings.contains("delta")) grpo.delta = settings["delta"];
  grpo.beta = settings.value("beta", 0.0);
  grpo.use_bias_correction_kl = settings.value("use_bias_correction_kl", true);
  grpo.top_entropy_quantile = settings.value("top_entropy_quantile", 1.0);
  return setup;
}

at::Tensor picked(const at::Tensor& rows, const at::Tensor& mask) {
  return rows.masked_select(mask);
}

struct GroupLoss : ::testing::TestWithParam<size_t> {};
constexpr size_t kLossCases = 34;
INSTANTIATE_TEST_SUITE_P(GoldenTrl, GroupLoss, ::testing::Range<size_t>(0, kLossCases));

// A minibatch of the first rows, whole or in passes of two answers each.
TEST_P(GroupLoss, AndItsGradientAreTrls) {
  ASSERT_EQ(trl_golden()["losses"].size(), kLossCases);
  const Json& test = trl_golden()["losses"][GetParam()];
  const Json& settings = test["settings"];
  SCOPED_TRACE(settings.dump());
  const GrpoSetup setup = trl_setup(settings);
  UpdateRules rules = policy_task(setup).rules;
  rules.surrogate.kl_coef = setup.grpo.beta;
  const at::Tensor all = trl_mask();
  at::Tensor counted = all.clone();
  for (const int64_t row : settings.value("truncated", std::vector<int64_t>{})) {
    counted[row].fill_(false);
  }
  const int64_t rows = 8 / setup.grpo.num_mini_batches;
  const auto here = [&](const at::Tensor& values) { return values.narrow(0, 0, rows); };
  const double divisor =
      loss_divisor(rules.surrogate.aggregation,
                   {.answers = static_cast<double>(rows),
                    .tokens = here(counted).sum().item<double>(),
                    .iteration_tokens = counted.sum().item<double>(),
                    .num_mini_batches = static_cast<double>(setup.grpo.num_mini_batches),
                    .longest = static_cast<double>(rules.longest_answer)});
  at::Tensor acts = here(counted);
  if (rules.top_entropy_quantile < 1) {
    acts = high_entropy_mask(here(to_tensor(trl_golden()["entropies"])), here(counted),
                             rules.top_entropy_quantile);
  }
  for (const int64_t answers : {rows, int64_t{2}}) {
    const at::Tensor logprobs = leaf(here(to_tensor(trl_golden()["logprobs"])).clone());
    double loss = 0, low = 0, high = 0, kl = 0;
    for (int64_t begin = 0; begin < rows; begin += answers) {
      const auto part = [&](const at::Tensor& values) {
        return picked(values.narrow(0, begin, answers), all.narrow(0, begin, answers));
      };
      const std::vector<int64_t> of_lengths = trl_lengths();
      const SurrogateLoss result = surrogate_loss(
          {.logprobs = part(logprobs),
           .old_logprobs = part(to_tensor(trl_golden()["old"])),
           .advantages = part(to_tensor(trl_golden()["advantages"]).unsqueeze(1).expand_as(all)),
           .mask = part(counted),
           .acts = part(acts),
           .reference_logprobs = part(to_tensor(trl_golden()["reference"])),
           .lengths = {of_lengths.begin() + begin, of_lengths.begin() + begin + answers}},
          rules.surrogate, divisor);
      result.loss.backward();
      loss += result.loss.item<double>();
      low += result.clipped_low;
      high += result.clipped_high;
      kl += result.kl;
    }
    EXPECT_NEAR(loss, test["loss"].get<double>(), 1e-12);
    EXPECT_TRUE(all_close(logprobs.grad(), to_tensor(test["gradient"]), 1e-11, 1e-13));
    const double tokens = std::max(here(counted).sum().item<double>(), 1.0);
    const Json& metrics = test["metrics"];
    if (metrics.contains("kl") && rules.surrogate.level == RatioLevel::token) {
      EXPECT_NEAR(kl / tokens, metrics["kl"].get<double>(), 1e-12);
    }
    // TRL counts answers where it clips answers.
    if (metrics.contains("clip_ratio/low_mean") && rules.surrogate.level == RatioLevel::token) {
      EXPECT_NEAR(low / tokens, metrics["clip_ratio/low_mean"].get<double>(), 1e-12);
      EXPECT_NEAR(high / tokens, metrics["clip_ratio/high_mean"].get<double>(), 1e-12);
    }
    if (metrics.contains("cispo_clip_ratio") && rules.surrogate.level == RatioLevel::token) {
      EXPECT_NEAR(high / tokens, metrics["cispo_clip_ratio"].get<double>(), 1e-12);
    }
  }
}

// Weights for what sampling and training differ by, and the entropy bonus.
TEST(GoldenTrlCorrections, WeightsLossesAndGradients) {
  const at::Tensor mask = trl_mask();
  ASSERT_EQ(trl_golden()["corrected_losses"].size(), 17u);
  for (const Json& test : trl_golden()["corrected_losses"]) {
    const Json& settings = test["settings"];
    SCOPED_TRACE(settings.dump());
    const GrpoSetup setup = trl_setup(settings);
    UpdateRules rules = policy_task(setup).rules;
    rules.surrogate.kl_coef = setup.grpo.beta;
    rules.surrogate.entropy_coef = settings.value("entropy_coef", 0.0);
    at::Tensor corrections, acts = mask;
    if (settings.contains("correction")) {
      const auto bound = [&](const char* key) -> std::optional<double> {
        if (!settings.contains(key) || settings[key].is_null()) return std::nullopt;
        return settings[key].get<double>();
      };
      corrections = importance_corrections(
          to_tensor(trl_golden()["old"]), to_tensor(trl_golden()["sampled"]), mask,
          {.mode = enum_named<CorrectionMode>(settings["correction"]),
           .clip_min = bound("clip_min"),
           .clip_max = bound("clip_max")});
      EXPECT_TRUE(all_close(corrections * mask, to_tensor(test["weights"]), 1e-12, 1e-14));
      corrections = picked(corrections, mask);
    }
    if (rules.top_entropy_quantile < 1) {
      acts =
          high_entropy_mask(to_tensor(trl_golden()["entropies"]), mask, rules.top_entropy_quantile);
    }
    const double tokens = mask.sum().item<double>();
    const at::Tensor logprobs = leaf(to_tensor(trl_golden()["logprobs"]));
    const at::Tensor entropies = leaf(to_tensor(trl_golden()["entropies"]));
    const at::Tensor advantages =
        to_tensor(trl_golden()["advantages"]).unsqueeze(1).expand_as(mask);
    const SurrogateLoss result =
        surrogate_loss({.logprobs = picked(logprobs, mask),
                        .old_logprobs = picked(to_tensor(trl_golden()["old"]), mask),
                        .advantages = picked(advantages, mask),
                        .mask = picked(mask, mask),
                        .acts = picked(acts, mask),
                        .reference_logprobs = picked(to_tensor(trl_golden()["reference"]), mask),
                        .entropies = picked(entropies, mask),
                        .corrections = corrections,
                        .lengths = trl_lengths()},
                       rules.surrogate,
                       loss_divisor(rules.surrogate.aggregation,
                                    {.answers = 8,
                                     .tokens = tokens,
                                     .iteration_tokens = tokens,
                                     .longest = static_cast<double>(rules.longest_answer)}),
                       acts.sum().item<double>());
    result.loss.backward();
    EXPECT_NEAR(result.loss.item<double>(), test["loss"].get<double>(), 1e-12);
    EXPECT_TRUE(all_close(logprobs.grad(), to_tensor(test["gradient"]), 1e-11, 1e-13));
    if (rules.surrogate.entropy_coef != 0) {
      EXPECT_TRUE(all_close(entropies.grad(), to_tensor(test["entropy_gradient"]), 1e-11, 1e-13));
    }
  }
}

// TRL's `delta` above 1 + epsilon_high is verl's dual clip.
TEST(GoldenVerlDualClip, LossAndItsGradient) {
  const at::Tensor mask = trl_mask();
  for (const Json& test : trl_golden()["dual_clip"]) {
    const SurrogateRules rules{.epsilon = test["epsilon"],
                               .epsilon_high = test["epsilon_high"],
                               .delta = test["delta"].get<double>()};
    const at::Tensor logprobs = leaf(to_tensor(test["logprobs"]));
    const at::Tensor advantages =
        to_tensor(trl_golden()["advantages"]).unsqueeze(1).expand_as(mask);
    const SurrogateLoss result =
        surrogate_loss({.logprobs = picked(logprobs, mask),
                        .old_logprobs = picked(to_tensor(trl_golden()["old"]), mask),
                        .advantages = picked(advantages, mask),
                        .mask = picked(mask, mask)},
                       rules, mask.sum().item<double>());
    result.loss.backward();
    EXPECT_NEAR(result.loss.item<double>(), test["loss"].get<double>(), 1e-12);
    EXPECT_TRUE(all_close(logprobs.grad(), to_tensor(test["gradient"]), 1e-11, 1e-13));
  }
}

TEST(GoldenTrlRloo, LossAndItsGradient) {
  for (const Json& test : trl_golden()["rloo_losses"]) {
    RlooSetup setup;
    setup.rloo.epsilon = test["settings"].value("epsilon", 0.2);
    if (test["settings"].contains("epsilon_high")) {
      setup.rloo.epsilon_high = test["settings"]["epsilon_high"];
    }
    const UpdateRules rules = policy_task(setup).rules;
    const at::Tensor mask = trl_mask();
    const at::Tensor logprobs = leaf(to_tensor(trl_golden()["logprobs"]));
    const at::Tensor advantages =
        to_tensor(trl_golden()["advantages"]).unsqueeze(1).expand_as(mask);
    const SurrogateLoss result =
        surrogate_loss({.logprobs = picked(logprobs, mask),
                        .old_logprobs = picked(to_tensor(trl_golden()["old"]), mask),
                        .advantages = picked(advantages, mask),
                        .mask = picked(mask, mask),
                        .lengths = trl_lengths()},
                       rules.surrogate, loss_divisor(rules.surrogate.aggregation, {.answers = 8}));
    result.loss.backward();
    EXPECT_NEAR(result.loss.item<double>(), test["loss"].get<double>(), 1e-12);
    EXPECT_TRUE(all_close(logprobs.grad(), to_tensor(test["gradient"]), 1e-11, 1e-13));
  }
}

// The task's own shaping, from scores to the advantages of tokens.
template <class Setup>
Experience shaped(const Setup& setup, double beta) {
  Experience result = trl_experience();
  policy_task(setup).shape(result, beta);
  return result;
}

TEST(GoldenTrlGroups, AdvantagesOfEveryTask) {
  int found = 0;
  for (const Json& test : trl_golden()["advantage_cases"]) {
    SCOPED_TRACE(test.dump());
    const double beta = test.value("beta", 0.0);
    const at::Tensor expected = to_tensor(test["advantages"]);
    const auto by_token = [&] { return expected.unsqueeze(1) * trl_mask(); };
    if (test["task"] == "grpo") {
      GrpoSetup setup = trl_setup(Json::object());
      setup.grpo.scale_rewards = enum_named<ScaleRewards>(test["scale_rewards"]);
      EXPECT_TRUE(all_close(shaped(setup, 0).advantages, by_token(), 1e-12, 1e-14));
      if (setup.grpo.scale_rewards != ScaleRewards::batch) {
        EXPECT_EQ(flat_group_share(trl_experience().scores, 4).share, test["flat"].get<double>());
      }
      ++found;
    } else if (test["task"] == "rloo") {
      RlooSetup setup;
      setup.rloo.num_generations = 4;
      setup.rloo.normalize_advantages = test.value("normalize_advantages", false);
      if (test.contains("reward_clip_range")) {
        setup.rloo.reward_clip_range = test["reward_clip_range"].get<std::vector<double>>();
      }
      EXPECT_TRUE(all_close(shaped(setup, beta).advantages, by_token(), 1e-12, 1e-13));
      ++found;
    } else {
      ReinforceSetup setup;
      setup.reinforce.num_generations = 4;
      setup.reinforce.baseline = enum_named<Baseline>(test["baseline"]);
      setup.reinforce.gamma = test["gamma"];
      setup.reinforce.whiten_advantages = test["whiten_advantages"];
      EXPECT_TRUE(all_close(shaped(setup, beta).advantages, expected, 1e-12, 1e-13));
      ++found;
    }
  }
  EXPECT_EQ(found, 13);
}

}  // namespace
}  // namespace leash

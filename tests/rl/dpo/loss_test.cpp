// DPO's losses: TRL's numbers (tests/golden/make_dpo.py), and what TRL has not.
#include "rl/dpo/loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <set>

#include "rl/dpo/config.h"
#include "tests/rl/json_tensors.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using testing::all_close;
using testing::leaf;
using testing::to_tensor;

DpoLoss dpo_loss_named(const std::string& name) {
  for (const auto& [type, known] : EnumNames<DpoLoss>::values) {
    if (known == name) return type;
  }
  throw std::invalid_argument(name);
}

DpoLossOptions options_of(const nlohmann::json& json) {
  DpoLossOptions options{.types = {},
                         .weights = json["weights"],
                         .beta = json["beta"],
                         .label_smoothing = json["label_smoothing"]};
  for (const auto& name : json["types"]) options.types.push_back(dpo_loss_named(name));
  return options;
}

// Log-probs of each answer's tokens, as leaves, and their weighted sums.
struct TokenRows {
  explicit TokenRows(const nlohmann::json& rows) {
    for (const auto& row : rows) leaves.push_back(leaf(to_tensor(row)));
  }
  at::Tensor sums(const nlohmann::json& others, const nlohmann::json& alpha) const {
    std::vector<at::Tensor> all;
    for (size_t i = 0; i < leaves.size(); ++i) {
      const auto both = std::min(leaves[i].size(0), static_cast<int64_t>(others[i].size()));
      at::Tensor sum = leaves[i].narrow(0, 0, both).sum();
      if (leaves[i].size(0) > both) {
        sum = sum + leaves[i].narrow(0, both, leaves[i].size(0) - both).sum() *
                        (alpha.is_null() ? 1.0 : alpha.get<double>());
      }
      all.push_back(sum);
    }
    return at::stack(all);
  }
  at::Tensor lengths() const {
    std::vector<double> all;
    for (const at::Tensor& row : leaves) all.push_back(static_cast<double>(row.size(0)));
    return at::tensor(all, at::kDouble);
  }
  std::vector<at::Tensor> leaves;
};

TEST(GoldenDpoLoss, LossesAndGradientsAreTrls) {
  const nlohmann::json cases = testing::read_golden("dpo/losses.json");
  std::set<std::string> names;
  for (const auto& expected : cases) {
    const std::string name = expected["name"];
    names.insert(name);
    const TokenRows chosen(expected["chosen"]), rejected(expected["rejected"]);
    const auto& alpha = expected["ld_alpha"];
    const PairLogprobs pairs{.chosen = chosen.sums(expected["rejected"], alpha),
                             .rejected = rejected.sums(expected["chosen"], alpha),
                             .reference_chosen = to_tensor(expected["reference_chosen"]),
                             .reference_rejected = to_tensor(expected["reference_rejected"]),
                             .chosen_plain = chosen.sums(expected["rejected"], nullptr),
                             .rejected_plain = rejected.sums(expected["chosen"], nullptr),
                             .chosen_tokens = chosen.lengths(),
                             .rejected_tokens = rejected.lengths(),
                             .ties = {}};
    const at::Tensor loss =
        dpo_loss(pairs, options_of(expected["options"]),
                 {.pairs = 5, .sft_tokens = chosen.lengths().sum().item<double>()});
    EXPECT_NEAR(loss.item<double>(), expected["loss"].get<double>(), 1e-12) << name;
    std::vector<at::Tensor> leaves = chosen.leaves;
    leaves.insert(leaves.end(), rejected.leaves.begin(), rejected.leaves.end());
    const auto gradients = torch::autograd::grad({loss}, leaves, {}, std::nullopt, false, true);
    for (size_t i = 0; i < leaves.size(); ++i) {
      const auto& golden =
          i < 5 ? expected["chosen_gradient"][i] : expected["rejected_gradient"][i - 5];
      const at::Tensor gradient = gradients[i].defined() ? gradients[i] : at::zeros_like(leaves[i]);
      EXPECT_TRUE(all_close(gradient, to_tensor(golden), 0, 1e-12)) << name << " " << i;
    }
  }
  for (const auto& [type, name] : EnumNames<DpoLoss>::values) {
    EXPECT_TRUE(names.contains(std::string(name))) << name;
  }
}

at::Tensor numbers(const std::vector<double>& values) { return at::tensor(values, at::kDouble); }

PairLogprobs two_pairs() {
  return {.chosen = numbers({-3.0, -4.5}),
          .rejected = numbers({-6.0, -2.0}),
          .reference_chosen = numbers({-3.5, -5.5}),
          .reference_rejected = numbers({-5.0, -2.5}),
          .chosen_plain = numbers({-3.0, -4.5}),
          .rejected_plain = numbers({-6.0, -2.0}),
          .chosen_tokens = numbers({2, 3}),
          .rejected_tokens = numbers({4, 1}),
          .ties = {}};
}

PairLogprobs turned(const PairLogprobs& p) {
  return {.chosen = p.rejected,
          .rejected = p.chosen,
          .reference_chosen = p.reference_rejected,
          .reference_rejected = p.reference_chosen,
          .chosen_plain = p.rejected_plain,
          .rejected_plain = p.chosen_plain,
          .chosen_tokens = p.rejected_tokens,
          .rejected_tokens = p.chosen_tokens,
          .ties = {}};
}

TEST(DpoLoss, ATieIsHalfAPairEitherWay) {
  for (const auto& [type, name] : EnumNames<DpoLoss>::values) {
    const DpoLossOptions options{.types = {type}, .beta = 0.4, .label_smoothing = 0.1};
    PairLogprobs pairs = two_pairs();
    const double one = dpo_loss(pairs, options, {}).item<double>();
    const double other = dpo_loss(turned(pairs), options, {}).item<double>();
    pairs.ties = numbers({1, 1});
    EXPECT_NEAR(dpo_loss(pairs, options, {}).item<double>(), (one + other) / 2, 1e-12) << name;
    pairs.ties = numbers({0, 0});
    EXPECT_NEAR(dpo_loss(pairs, options, {}).item<double>(), one, 1e-12) << name;
  }
}

TEST(DpoLoss, TypesAddUpWithTheirWeights) {
  const PairLogprobs pairs = two_pairs();
  const DpoDivisors divisors{.pairs = 2, .sft_tokens = 5};
  const auto loss = [&](const DpoLossOptions& options) {
    return dpo_loss(pairs, options, divisors).item<double>();
  };
  EXPECT_NEAR(loss({.types = {DpoLoss::hinge, DpoLoss::sft}, .weights = {0.5, 3.0}}),
              0.5 * loss({.types = {DpoLoss::hinge}}) + 3 * loss({.types = {DpoLoss::sft}}), 1e-12);
  EXPECT_NEAR(loss({.types = {DpoLoss::sft}}), 7.5 / 5, 1e-12);
}

TEST(DpoLoss, LargeMarginsStayFinite) {
  PairLogprobs pairs = two_pairs();
  pairs.chosen = leaf(numbers({-1e5, 0}));
  for (const auto& [type, name] : EnumNames<DpoLoss>::values) {
    const at::Tensor loss = dpo_loss(pairs, {.types = {type}, .label_smoothing = 0.1}, {});
    EXPECT_TRUE(std::isfinite(loss.item<double>())) << name;
  }
}

}  // namespace
}  // namespace leash

// The gradients of a minibatch of groups, for every loss: splitting into passes and ranks, and
// prompts that are computed once, change nothing but rounding.
#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "models/random/random.h"
#include "rl/grpo/task.h"
#include "rl/policy/minibatches.h"
#include "rl/ppo/shape.h"
#include "rl/ppo/update.h"
#include "rl/reinforce/task.h"
#include "rl/rloo/task.h"
#include "tests/support/files.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_folder.h"

namespace leash {
namespace {

using testing::all_close;

constexpr int64_t kGroups = 4, kGroupSize = 3, kLongestAnswer = 9;

// One of several ranks, whose gradients the test adds up itself.
class OneOfRanks final : public Communicator {
 public:
  OneOfRanks(int64_t rank, int64_t size) : rank_(rank), size_(size) {}
  int64_t rank() const override { return rank_; }
  int64_t size() const override { return size_; }
  std::unique_ptr<PendingSums> start_all_reduce(const std::vector<at::Tensor>&) override {
    struct Nothing final : PendingSums {
      void wait() override {}
    };
    return std::make_unique<Nothing>();
  }
  std::vector<std::string> all_gather(const std::string& bytes) override { return {bytes}; }
  void report_failure(const std::exception&) noexcept override {}

 private:
  int64_t rank_, size_;
};

at::Tensor uniform_noise(at::IntArrayRef shape, uint64_t key) {
  return uniform_tensor({key, Purpose::noise, 0, 0}, shape, -1, 1).to(at::kDouble);
}

std::vector<int64_t> some_ids(int64_t length, int64_t key) {
  std::vector<int64_t> result;
  for (int64_t i = 0; i < length; ++i) result.push_back((key * 31 + i * 17) % 96);
  return result;
}

// Answers of 1 to 9 tokens, three to each prompt of 11 to 14; one was cut off.
Experience grouped_experience() {
  Experience result;
  std::vector<int64_t> lengths;
  for (int64_t row = 0; row < kGroups * kGroupSize; ++row) {
    const int64_t length = row == 2 ? kLongestAnswer : 1 + (row * 5) % 8;
    lengths.push_back(length);
    Completion answer;
    answer.sample = static_cast<uint64_t>(row);
    answer.prompt_ids = some_ids(11 + row / kGroupSize, row / kGroupSize);
    answer.token_ids = some_ids(length, 50 + row);
    answer.stop = row == 4 ? StopReason::length : StopReason::eos;
    result.answers.push_back(answer);
  }
  result.mask = row_mask(lengths);
  const std::vector<int64_t> shape = {kGroups * kGroupSize, kLongestAnswer};
  result.logprobs = uniform_noise(shape, 1).mul(0.5).sub(4.5);
  result.sampled_logprobs = result.logprobs;
  result.reference_logprobs = result.logprobs.add(uniform_noise(shape, 2).mul(0.3));
  result.exact_kl = uniform_noise(shape, 5).abs();
  result.corrections = uniform_noise(shape, 6).mul(0.5).add(1);
  result.entropies = uniform_noise(shape, 3).abs();
  result.values = at::zeros_like(result.logprobs);
  result.scores = uniform_noise({kGroups * kGroupSize}, 4);
  return result;
}

struct LossCase {
  std::string name;
  PolicyTask task;
};

// Setups outlive the tasks that refer to them.
const std::vector<LossCase>& loss_cases() {
  static const std::vector<LossCase> cases = [] {
    std::vector<LossCase> all;
    const auto size = [](GroupConfig& config) {
      config.batch_size = kGroups * kGroupSize;
      config.num_generations = kGroupSize;
      config.beta = 0.1;
      config.mask_truncated_completions = true;
    };
    for (const auto& [loss, name] : EnumNames<GrpoLoss>::values) {
      for (const auto& [level, level_name] : EnumNames<RatioLevel>::values) {
        auto* setup = new GrpoSetup;  // lives as long as the cases
        size(setup->grpo);
        setup->rollout.response_length = kLongestAnswer;
        setup->grpo.loss_type = loss;
        setup->grpo.importance_sampling_level = level;
        setup->grpo.num_mini_batches = 2;
        setup->grpo.top_entropy_quantile = 0.7;
        setup->grpo.delta = 3.0;
        all.push_back({std::string(name) + "_" + std::string(level_name), policy_task(*setup)});
      }
      // What reads whole distributions, in every aggregation.
      auto* setup = new GrpoSetup;
      size(setup->grpo);
      setup->rollout.response_length = kLongestAnswer;
      setup->grpo.loss_type = loss;
      setup->grpo.importance_sampling_level = RatioLevel::sequence;
      setup->grpo.kl_estimator = KlEstimator::exact;
      setup->grpo.entropy_coef = 0.2;
      setup->grpo.top_entropy_quantile = 0.7;
      all.push_back({std::string(name) + "_exact_kl_and_entropy", policy_task(*setup)});
    }
    auto* rloo = new RlooSetup;
    size(rloo->rloo);
    all.push_back({"rloo", policy_task(*rloo)});
    auto* reinforce = new ReinforceSetup;
    size(reinforce->reinforce);
    reinforce->reinforce.kl_in = KlPlace::loss;
    reinforce->reinforce.kl_estimator = KlEstimator::k2;
    reinforce->reinforce.delta = 1.5;
    all.push_back({"reinforce", policy_task(*reinforce)});
    auto* ppo = new PpoSetup;
    ppo->ppo.batch_size = kGroups * kGroupSize;
    ppo->ppo.kl_estimator = KlEstimator::exact;
    ppo->ppo.kl_in = KlPlace::loss;
    ppo->ppo.entropy_coef = 0.1;
    ppo->ppo.cliprange_high = 0.3;
    ppo->ppo.delta = 2.0;
    ppo->ppo.whiten_advantages = false;
    all.push_back({"ppo",
                   {.rules = ppo_update_rules(*ppo),
                    .kl_in_loss = true,
                    .shape = [ppo](Experience& experience, double kl_coef) {
                      shape(experience, ppo->ppo, kl_coef);
                    }}});
    return all;
  }();
  return cases;
}

class EveryLoss : public ::testing::TestWithParam<size_t> {
 protected:
  EveryLoss() {
    testing::write_tiny_folder(folder_.path());
    const auto decoder = testing::tiny_decoder(at::kDouble);
    roles_ = std::make_unique<PolicyRoles>(
        PolicyRoles{.checkpoint = {},
                    .decoder = decoder,
                    .tokenizer = Tokenizer::load(folder_.path()),
                    .policy = testing::tiny_adapter(*decoder).to(at::kDouble),
                    .reference = {.decoder = decoder, .adapter = {}},
                    .critic = {},
                    .reward = {}});
    rules_ = test().task.rules;
    rules_.surrogate.kl_coef = test().task.kl_in_loss ? 0.1 : 0;
    rules_.micro_batch_tokens = 1000;
  }

  const LossCase& test() const { return loss_cases()[GetParam()]; }

  struct Gradients {
    std::vector<at::Tensor> values;
    UpdateSums sums;
  };
  Gradients gradients(const UpdateRules& rules, Communicator& communicator) const {
    for (at::Tensor leaf : roles_->policy.parameters()) leaf.mutable_grad().reset();
    Experience experience = grouped_experience();
    test().task.shape(experience, 0.1);
    Gradients result;
    result.sums = accumulate_gradients(experience, rows_, rules, *roles_, communicator);
    for (const at::Tensor& leaf : roles_->policy.parameters()) {
      result.values.push_back(leaf.grad().defined() ? leaf.grad().clone()
                                                    : at::zeros_like(leaf).detach());
    }
    return result;
  }

  static void expect_same(const Gradients& a, const Gradients& b) {
    EXPECT_NEAR(a.sums.policy_loss, b.sums.policy_loss, 1e-12);
    EXPECT_NEAR(a.sums.kl, b.sums.kl, 1e-11);
    EXPECT_NEAR(a.sums.entropy, b.sums.entropy, 1e-10);
    EXPECT_EQ(a.sums.tokens, b.sums.tokens);
    EXPECT_EQ(a.sums.clipped_low, b.sums.clipped_low);
    for (size_t i = 0; i < a.values.size(); ++i) {
      const double size = std::max(1e-3, b.values[i].abs().max().item<double>());
      EXPECT_TRUE(all_close(a.values[i], b.values[i], 0, 1e-11 * size)) << i;
    }
  }

  testing::ScratchFolder folder_;
  std::unique_ptr<PolicyRoles> roles_;
  UpdateRules rules_;
  const std::vector<int64_t> rows_ = {6, 7, 8, 3, 4, 5, 0, 1};  // a group is cut at the end
};

INSTANTIATE_TEST_SUITE_P(Losses, EveryLoss, ::testing::Range<size_t>(0, loss_cases().size()),
                         [](const auto& test) { return loss_cases()[test.param].name; });

// The whole minibatch in one pass without shared prompts is what the others are held against.
TEST_P(EveryLoss, PassesRanksAndSharedPromptsChangeNothingButRounding) {
  const auto alone = single_communicator();
  UpdateRules plain = rules_;
  plain.minibatches.group_size = 1;
  plain.micro_batch_tokens = 1;
  const Gradients expected = gradients(plain, *alone);
  double size = 0;
  for (const at::Tensor& value : expected.values) {
    size = std::max(size, value.abs().max().item<double>());
  }
  ASSERT_GT(size, 1e-6) << "nothing is learnt here";
  for (const int64_t tokens : {1, 23, 40, 1000}) {
    rules_.micro_batch_tokens = tokens;
    expect_same(gradients(rules_, *alone), expected);
  }
  for (const int64_t ranks : {2, 3, 5}) {
    Gradients sum;
    for (int64_t rank = 0; rank < ranks; ++rank) {
      OneOfRanks communicator(rank, ranks);
      rules_.micro_batch_tokens = 40;
      for (at::Tensor leaf : roles_->policy.parameters()) leaf.mutable_grad().reset();
      Experience experience = grouped_experience();
      test().task.shape(experience, 0.1);
      (void)accumulate_gradients(experience, rows_, rules_, *roles_, communicator);
      for (size_t i = 0; i < roles_->policy.parameters().size(); ++i) {
        const at::Tensor grad = roles_->policy.parameters()[i].grad();
        const at::Tensor part = grad.defined() ? grad : at::zeros_like(expected.values[i]);
        if (rank == 0) sum.values.push_back(at::zeros_like(part));
        sum.values[i] = sum.values[i] + part;
      }
    }
    for (size_t i = 0; i < expected.values.size(); ++i) {
      const double most = std::max(1e-3, expected.values[i].abs().max().item<double>());
      EXPECT_TRUE(all_close(sum.values[i], expected.values[i], 0, 1e-11 * most)) << ranks;
    }
  }
}

TEST(Minibatches, HoldWholeGroupsAndEveryAnswerOnce) {
  const MinibatchPlan plan{.batch_size = 24, .num_mini_batches = 3, .group_size = 4};
  std::set<int64_t> seen;
  std::vector<int64_t> groups;
  for (int64_t index = 0; index < 3; ++index) {
    const auto rows = minibatch_rows(plan, 1, 2, 0, index);
    ASSERT_EQ(rows.size(), 8u);
    for (size_t i = 0; i < rows.size(); ++i) {
      EXPECT_EQ(rows[i] % 4, static_cast<int64_t>(i) % 4);
      EXPECT_TRUE(seen.insert(rows[i]).second);
    }
    groups.push_back(rows[0] / 4);
    groups.push_back(rows[4] / 4);
  }
  EXPECT_NE(groups, (std::vector<int64_t>{0, 1, 2, 3, 4, 5}));
}

}  // namespace
}  // namespace leash

// What the roles say about answers, all at once and in groups.
#include "rl/policy/judging.h"

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <thread>

#include "models/errors.h"
#include "rl/policy/experience.h"
#include "rl/ppo/setup.h"
#include "tests/support/files.h"
#include "tests/support/tiny_folder.h"

namespace leash {
namespace {

// Takes its time, and says when it is done.
struct SlowReward final : RewardSource {
  std::atomic<bool>* done;
  explicit SlowReward(std::atomic<bool>* flag) : done(flag) {}
  std::vector<double> score(const std::vector<RewardSample>& samples) const override {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    *done = true;
    return std::vector<double>(samples.size(), 0.0);
  }
};

// The lengths of the answers; notes how many came together.
struct CountingReward final : RewardSource {
  mutable std::mutex mutex;
  mutable std::vector<size_t> calls;
  mutable std::promise<void> first;
  std::vector<double> score(const std::vector<RewardSample>& samples) const override {
    const std::lock_guard lock(mutex);
    if (calls.empty()) first.set_value();
    calls.push_back(samples.size());
    std::vector<double> scores;
    for (const RewardSample& sample : samples) {
      scores.push_back(static_cast<double>(sample.token_ids.size()) +
                       100 * static_cast<double>(sample.prompt.size()));
    }
    return scores;
  }
};

PpoSetup groups_of(int64_t answers) {
  PpoSetup setup;
  setup.lanes.scoring_group = answers;
  return setup;
}

class ThreadsJudging : public ::testing::Test {
 protected:
  ThreadsJudging() { testing::write_tiny_folder(folder_.path()); }

  PolicyRoles roles(std::unique_ptr<RewardSource> reward) const {
    return {.checkpoint = {},
            .decoder = decoder_,
            .tokenizer = Tokenizer::load(folder_.path()),
            .policy = testing::tiny_adapter(*decoder_),
            .reference = {.decoder = decoder_, .adapter = {}},
            .critic = Critic{.kind = CriticKind::shared,
                             .decoder = decoder_,
                             .head = LinearHead::zeros(decoder_->config().hidden_size)},
            .reward = std::move(reward)};
  }

  // Row i has a prompt of i letters and an answer of i + 1 tokens.
  std::vector<Completion> answers(int64_t count) const {
    std::vector<Completion> made;
    for (int64_t i = 0; i < count; ++i) {
      Completion answer{.sample = static_cast<uint64_t>(i), .prompt_ids = {1, 2}};
      for (int64_t t = 0; t <= i; ++t) answer.token_ids.push_back(3 + t);
      answer.values.assign(answer.token_ids.size(), 0.5 * static_cast<double>(i));
      made.push_back(std::move(answer));
    }
    return made;
  }
  static std::vector<PromptRecord> prompts(int64_t count) {
    std::vector<PromptRecord> records(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      records[static_cast<size_t>(i)].text = std::string(static_cast<size_t>(i), 'a');
    }
    return records;
  }
  static std::vector<int64_t> rows(int64_t count) {
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < count; ++i) rows.push_back(i);
    return rows;
  }

  testing::ScratchFolder folder_;
  std::shared_ptr<const Decoder> decoder_ = testing::tiny_decoder();
};

// The tasks of all lanes read what Judging holds: none may still run when it throws.
TEST_F(ThreadsJudging, AFailingRoleIsHeardOfOnceAllLanesAreIdle) {
  std::atomic<bool> done = false;
  const PolicyRoles roles = this->roles(std::make_unique<SlowReward>(&done));
  Lanes lanes({.threads_per_lane = 1});
  const Completion unknown{.prompt_ids = {1}, .token_ids = {1000}};  // no token of the reference's
  EXPECT_THROW(judge({unknown}, {PromptRecord{}}, {0}, {}, {}, roles, lanes), FormatError);
  EXPECT_TRUE(done);
}

TEST_F(ThreadsJudging, SamplingThatFailsLeavesNoLaneAtWork) {
  std::atomic<bool> done = false;
  const PolicyRoles roles = this->roles(std::make_unique<SlowReward>(&done));
  const PpoSetup setup = groups_of(1);
  const std::vector<PromptRecord> prompts(1);
  const std::vector<int64_t> rows = {0};
  Lanes lanes({.threads_per_lane = 1});
  {
    Judging judging(prompts, rows, setup, setup.ppo, roles, lanes);
    judging.add(answers(1)[0]);
  }  // as when what follows throws
  EXPECT_TRUE(done);
}

// A stream that takes no work.
struct BrokenStream final : DeviceStream {
  std::function<void()> behind_caller(std::string_view, std::function<void()> task) override {
    return task;
  }
  std::shared_ptr<TaskEnd> task_end() override { throw std::runtime_error("no memory"); }
};

// The last of a group's lanes takes no work while the others are at it.
TEST_F(ThreadsJudging, AGroupThatCannotBeginWaitsForWhatHasBegun) {
  std::atomic<bool> done = false;
  const PolicyRoles roles = this->roles(std::make_unique<SlowReward>(&done));
  PpoSetup setup;
  setup.ppo.recompute_logprobs = true;
  Lanes lanes({.threads_per_lane = 1}, std::nullopt, 0,
              [](Role role) -> std::shared_ptr<DeviceStream> {
                return role == Role::actor ? std::make_shared<BrokenStream>() : nullptr;
              });
  EXPECT_THROW(judge(answers(1), std::vector<PromptRecord>(1), {0}, setup, setup.ppo, roles, lanes),
               std::runtime_error);
  EXPECT_TRUE(done);
}

TEST_F(ThreadsJudging, AGroupIsJudgedBeforeTheLastAnswerIsThere) {
  auto reward = std::make_unique<CountingReward>();
  const CountingReward& counts = *reward;
  auto begun = reward->first.get_future();
  const PolicyRoles roles = this->roles(std::move(reward));
  const PpoSetup setup = groups_of(2);
  const auto prompts = this->prompts(5);
  const auto rows = this->rows(5);
  Lanes lanes({.threads_per_lane = 1});
  Judging judging(prompts, rows, setup, setup.ppo, roles, lanes);
  const auto all = answers(5);
  judging.add(all[3]);
  judging.add(all[0]);
  ASSERT_EQ(begun.wait_for(std::chrono::seconds(60)), std::future_status::ready);
  for (const size_t i : {4, 2, 1}) judging.add(all[i]);
  const auto judged = judging.finish();
  EXPECT_EQ(counts.calls, (std::vector<size_t>{2, 2, 1}));
  ASSERT_EQ(judged.size(), 5u);
  for (size_t i = 0; i < 5; ++i) {  // each with what was said about it, in the order of the rows
    EXPECT_EQ(judged[i].answer.token_ids, all[i].token_ids);
    EXPECT_EQ(judged[i].reference_logprobs.size(), i + 1);
    EXPECT_EQ(judged[i].values, all[i].values);
    EXPECT_EQ(judged[i].score, static_cast<double>(i + 1 + 100 * i));
  }
}

TEST_F(ThreadsJudging, GroupsSayWhatTheWholeSays) {
  const auto all = answers(7);
  const auto prompts = this->prompts(7);
  const auto rows = this->rows(7);
  const auto with = [&](int64_t group, bool concurrent) {
    const PolicyRoles roles = this->roles(std::make_unique<CountingReward>());
    const PpoSetup setup = groups_of(group);
    Lanes lanes({.concurrent = concurrent, .threads_per_lane = 1});
    return judge(all, prompts, rows, setup, setup.ppo, roles, lanes);
  };
  const auto whole = with(0, true), groups = with(3, true), one_lane = with(3, false);
  for (size_t i = 0; i < all.size(); ++i) {
    // Bit for bit whatever the lanes; other packings round otherwise.
    EXPECT_EQ(groups[i].reference_logprobs, one_lane[i].reference_logprobs);
    EXPECT_EQ(groups[i].score, whole[i].score);
    for (size_t t = 0; t < whole[i].reference_logprobs.size(); ++t) {
      EXPECT_NEAR(groups[i].reference_logprobs[t], whole[i].reference_logprobs[t], 1e-5);
    }
  }
}

// A policy that is still its reference differs from it by nothing, whatever the sampler's rounding
// was; ratios and KL take what was computed again, the gap what was sampled.
TEST_F(ThreadsJudging, LogProbsOfANarrowPolicyAreComputedAgain) {
  decoder_ = Decoder::load(testing::tiny_checkpoint(), at::kBFloat16);
  PolicyRoles roles = this->roles(std::make_unique<CountingReward>());
  roles.policy = Adapter::create({}, decoder_->modules(), /*seed=*/1);  // B is 0
  std::vector<Completion> sampled = answers(5);
  for (Completion& answer : sampled) answer.logprobs.assign(answer.token_ids.size(), -0.25);
  Lanes lanes({.threads_per_lane = 1});
  for (const std::optional<bool> wanted : {std::optional<bool>(), std::optional(false)}) {
    PpoSetup setup = groups_of(2);
    setup.ppo.recompute_logprobs = wanted;
    const auto judged = judge(sampled, prompts(5), rows(5), setup, setup.ppo, roles, lanes);
    for (const JudgedAnswer& one : judged) {
      EXPECT_EQ(one.policy_logprobs, wanted ? std::vector<double>() : one.reference_logprobs);
      // The shared critic's old values are then those of the same states (its head is zero), not
      // the sampler's.
      EXPECT_EQ(one.values,
                wanted ? one.answer.values : std::vector<double>(one.answer.token_ids.size(), 0.0));
    }
    const Experience experience = assemble(judged, {});
    EXPECT_TRUE(at::equal(experience.logprobs,
                          wanted ? experience.sampled_logprobs : experience.reference_logprobs));
    EXPECT_EQ(experience.sampled_logprobs[4][4].item<double>(), -0.25);
  }
  roles.policy = testing::tiny_adapter(*testing::tiny_decoder());  // one that moved
  for (const auto& one : judge(sampled, prompts(5), rows(5), {}, {}, roles, lanes)) {
    EXPECT_NE(one.policy_logprobs, one.reference_logprobs);
    EXPECT_EQ(one.policy_logprobs.size(), one.reference_logprobs.size());
  }
  const PpoSetup single;
  roles.decoder = roles.reference.decoder = testing::tiny_decoder();
  roles.policy = testing::tiny_adapter(*roles.decoder);
  for (const auto& one : judge(sampled, prompts(5), rows(5), single, single.ppo, roles, lanes)) {
    EXPECT_TRUE(one.policy_logprobs.empty()) << "float32 has no need";
  }
}

}  // namespace
}  // namespace leash

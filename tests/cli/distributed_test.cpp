// leash train as several processes: the run of one, split. float64 and Gloo; what stays different
// is the order in which sums are added up. tests/tasks asks the same of two ranks for every task.
#include <csignal>
#include <set>

#include "tests/cli/distributed_workspace.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

// Minibatches of three answers: a fourth rank has none.
TEST(Distributed, PpoOnFourRanksIsThatOfOne) {
  const DistributedWorkspace work;
  const Lines more = {"--set", "ppo.batch_size=6", "--set", "ppo.total_episodes=36"};
  expect_done(run_leash(work.ppo_args("one", more)));
  expect_ranks_done(work.ppo_args("four", more), 4);
  work.expect_near_runs("one", "four");
  // Nothing is written twice, or left out.
  const auto files = [&](const std::string& folder) {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(work / folder)) {
      names.insert(std::filesystem::relative(entry.path(), work / folder));
    }
    return names;
  };
  EXPECT_EQ(files("four"), files("one"));
}

TEST(Distributed, ACriticOfItsOwnToo) {
  const DistributedWorkspace work;
  const Lines more = {"--set", "critic={kind: separate, train: lora}",
                      "--set", "ppo.total_episodes=16",
                      "--set", "ppo.missing_eos_penalty=1.0"};
  expect_done(run_leash(work.ppo_args("one", more)));
  expect_ranks_done(work.ppo_args("two", more), 2);
  work.expect_near_runs("one", "two");
}

// Batches of five samples on four ranks; the last batch of an epoch has one sample.
TEST(Distributed, SftOnFourRanksIsThatOfOne) {
  const DistributedWorkspace work;
  expect_done(run_leash(work.sft_args("one")));
  expect_ranks_done(work.sft_args("four"), 4);
  work.expect_near_runs("one", "four");
}

// The ranks agree on which steps overflow, since they look at the same sums.
TEST(Distributed, Float16SkipsTheStepsOfOneRank) {
  const DistributedWorkspace work;
  const Lines more = {"--dtype", "float16",         "--set", "sft.fp16_init_scale=16777216",
                      "--set",   "sft.max_steps=12"};
  expect_done(run_leash(work.sft_args("one", more)));
  expect_ranks_done(work.sft_args("two", more), 2);
  const auto one = json_lines(read_text(work / "one/metrics.jsonl"));
  const auto two = json_lines(read_text(work / "two/metrics.jsonl"));
  ASSERT_EQ(one.size(), 12u);
  ASSERT_EQ(two.size(), 12u);
  double skipped = 0;
  for (size_t i = 0; i < 12; ++i) {
    skipped += one[i]["step_skipped"].get<double>();
    EXPECT_EQ(two[i]["step_skipped"], one[i]["step_skipped"]) << i;
    EXPECT_EQ(two[i]["loss_scale"], one[i]["loss_scale"]) << i;
    EXPECT_NEAR(two[i]["loss"].get<double>(), one[i]["loss"].get<double>(), 0.02) << i;
  }
  EXPECT_GE(skipped, 1);
  EXPECT_LT(skipped, 12);
}

TEST(Distributed, RewardTrainingOnFourRanksIsThatOfOne) {
  const DistributedWorkspace work;
  work.write_pairs();
  expect_done(run_leash(work.args_of("reward.yaml", "one")));
  expect_ranks_done(work.args_of("reward.yaml", "four"), 4);
  work.expect_near_runs("one", "four");
}

TEST(Distributed, ClassificationOnFourRanksIsThatOfOne) {
  const DistributedWorkspace work;
  work.write_texts();
  expect_done(run_leash(work.args_of("classes.yaml", "one")));
  expect_ranks_done(work.args_of("classes.yaml", "four"), 4);
  work.expect_near_runs("one", "four");
  EXPECT_EQ(Json::parse(read_text(work / "four/evaluations/step-6.json"))["texts"].size(), 13u);
}

// A signal to one rank stops all after the same step; one process goes on.
TEST(Distributed, SigtermToOneRankStopsAllAndOneProcessGoesOn) {
  const DistributedWorkspace work;
  expect_done(run_leash(work.ppo_args("one")));
  Ranks ranks(leash_command(work.ppo_args("run")), 2, {.timeout_seconds = 300});
  ASSERT_TRUE(ranks[0].wait_until([&] { return work.steps_written("run") >= 3; }));
  ranks[1].signal(SIGTERM);
  const auto ended = ranks.wait();
  for (const Ended& each : ended) EXPECT_EQ(each.code, 130) << each.err;
  EXPECT_THAT(ended[0].err, HasSubstr("interrupted after step "));
  const int64_t done = work.steps_written("run") - 1;
  EXPECT_LT(done, 6);
  EXPECT_TRUE(std::filesystem::exists(work / "run/snapshots" / ("step-" + std::to_string(done))));
  expect_done(run_leash(work.ppo_args("run", {"--resume"})));
  work.expect_near_runs("one", "run");
}

// The others name it and end; the run goes on from its last snapshot, on one process and on two.
TEST(Distributed, AKilledRankEndsTheRunAndTheSnapshotGoesOn) {
  const DistributedWorkspace work;
  expect_done(run_leash(work.ppo_args("one")));
  Ranks ranks(leash_command(work.ppo_args("run")), 2, {.timeout_seconds = 300});
  ASSERT_TRUE(ranks[0].wait_until([&] { return work.steps_written("run") >= 4; }));
  ranks[1].signal(SIGKILL);
  EXPECT_EQ(ranks[1].wait().signal, SIGKILL);
  const auto killed = std::chrono::steady_clock::now();
  const Ended leader = ranks[0].wait();
  EXPECT_LT(std::chrono::steady_clock::now() - killed, std::chrono::seconds(20));
  EXPECT_EQ(leader.code, 1) << leader.err;
  EXPECT_THAT(leader.err, HasSubstr("rank 0 of 2: rank 1 ended or hangs: no sign of life"));
  EXPECT_THAT(leader.err, HasSubstr("the run failed; the last snapshot is "));
  std::filesystem::copy(work / "run", work / "copy", std::filesystem::copy_options::recursive);
  expect_done(run_leash(work.ppo_args("run", {"--resume"})));
  work.expect_near_runs("one", "run");
  expect_ranks_done(work.ppo_args("copy", {"--resume"}), 2);
  work.expect_near_runs("one", "copy");
}

// What only one rank finds out, all say.
TEST(Distributed, AnErrorOfOneRankEndsAll) {
  const DistributedWorkspace work;
  ASSERT_EQ(run_leash(work.ppo_args("used", {"--set", "ppo.total_episodes=8"})).code, 0);
  Ranks ranks(leash_command(work.ppo_args("used")), 2, {.timeout_seconds = 120});
  const auto ended = ranks.wait();
  expect_error(ended[0], 2, "holds a run already");
  expect_error(ended[1], 1, "rank 1 of 2: rank 0 failed: " + (work / "used").string());
}

TEST(Distributed, RanksWithDifferentRecipesAreRefused) {
  const DistributedWorkspace work;
  const int64_t port = free_port();
  const auto start = [&](int64_t rank, const Lines& more) {
    return Process(leash_command(work.ppo_args("run", more)),
                   {.environment = rank_environment(rank, 2, port)});
  };
  Process first = start(0, {}), second = start(1, {"--set", "ppo.batch_size=16"});
  expect_error(second.wait(), 2, "ppo.batch_size: 8 -> 16");
  expect_error(first.wait(), 1, "rank 1 failed: rank 1 has another recipe than rank 0");
}

TEST(Distributed, ALauncherThatSaysHalfIsAnError) {
  const DistributedWorkspace work;
  ProcessOptions options{.environment = {{"RANK", "0"}, {"WORLD_SIZE", "2"}}};
  expect_error(run_leash(work.ppo_args("run"), options), 2, "MASTER_ADDR is not set");
}

}  // namespace
}  // namespace leash::testing

// run.fsdp: full_shard as several processes over Gloo: the bits of the same run with whole weights
// on every rank. tests/tasks asks the same of two ranks for every task.
#include <csignal>

#include "tests/cli/distributed_workspace.h"
#include "tests/support/tiny_folder.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

const Lines kShard = {"--set", "run.fsdp=full_shard"};
const Lines kShardForEveryToken = {"--set", "run.fsdp=full_shard", "--set",
                                   "run.gather_for_generation=false"};

Lines joined(Lines a, const Lines& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(ShardedBase, SftGivesTheSameBits) {
  const DistributedWorkspace work;
  const auto args = [&](const std::string& folder, const Lines& more) {
    return work.sft_args(folder, joined({"--dtype", "float32"}, more));
  };
  for (const int64_t size : {1, 4}) {
    SCOPED_TRACE(size);
    const std::string folder = std::to_string(size);
    expect_ranks_done(args(folder + "whole", {}), size);
    expect_ranks_done(args(folder + "shard", kShard), size);
    work.expect_same_run(folder + "whole", folder + "shard");
    expect_ranks_done(args(folder + "token", kShardForEveryToken), size);
    work.expect_same_run(folder + "whole", folder + "token");
  }
  // Blocks that are computed again in the backward pass are gathered again for it.
  const Lines recompute = {"--set", "model.gradient_checkpointing=true"};
  expect_ranks_done(args("again", recompute), 2);
  expect_ranks_done(args("again shard", joined(recompute, kShard)), 2);
  work.expect_same_run("again", "again shard");
}

TEST(ShardedBase, RewardTrainingAndClassificationGiveTheSameBits) {
  const DistributedWorkspace work;
  work.write_pairs();
  work.write_texts();
  for (const std::string recipe : {"reward.yaml", "classes.yaml"}) {
    SCOPED_TRACE(recipe);
    expect_ranks_done(work.args_of(recipe, recipe + "whole"), 4);
    expect_ranks_done(work.args_of(recipe, recipe + "shard", kShard), 4);
    work.expect_same_run(recipe + "whole", recipe + "shard");
  }
}

// Minibatches of three answers: a fourth rank has none, and joins.
TEST(ShardedBase, PpoGivesTheSameBits) {
  const DistributedWorkspace work;
  const Lines uneven = {"--set", "ppo.batch_size=6", "--set", "ppo.total_episodes=36"};
  for (const int64_t size : {1, 4}) {
    SCOPED_TRACE(size);
    const std::string folder = std::to_string(size);
    expect_ranks_done(work.train_args(folder + "whole", uneven), size);
    expect_ranks_done(work.train_args(folder + "shard", joined(uneven, kShard)), size);
    work.expect_same_run(folder + "whole", folder + "shard");
    expect_ranks_done(work.train_args(folder + "token", joined(uneven, kShardForEveryToken)), size);
    work.expect_same_run(folder + "whole", folder + "token");
  }
}

// A reference, a critic and a reward model with weights of their own, and a critic and a reward
// model on the shared base.
TEST(ShardedBase, PpoWithOtherModelsGivesTheSameBits) {
  const DistributedWorkspace work;
  work.write_pairs();
  expect_done(run_leash(work.args_of("reward.yaml", "reward")));
  TinyOptions other = tiny_byte_options();
  other.seed = 11;
  write_tiny_folder(work / "second", other);
  const std::string reward = (work / "reward/adapter").string();
  const std::vector<Lines> roles = {
      {"--set", "reference={kind: model, path: " + (work / "second").string() + "}", "--set",
       "critic={kind: separate, train: lora}"},
      {"--set", "critic={kind: adapter}", "--set",
       "reward=[{kind: adapter, path: " + reward + "}]"},
      {"--set", "critic={kind: separate, train: all}"}};
  for (size_t i = 0; i < roles.size(); ++i) {
    const Lines more = joined(
        roles[i], {"--set", "ppo.total_episodes=24", "--set", "model.gradient_checkpointing=true"});
    const std::string folder = std::to_string(i);
    SCOPED_TRACE(i);
    expect_ranks_done(work.train_args(folder + "whole", more), 2);
    expect_ranks_done(work.train_args(folder + "shard", joined(more, kShard)), 2);
    work.expect_same_run(folder + "whole", folder + "shard");
    expect_ranks_done(work.train_args(folder + "token", joined(more, kShardForEveryToken)), 2);
    work.expect_same_run(folder + "whole", folder + "token");
  }
}

// The run goes on from its last snapshot, with whole weights or sharded ones, on any number of
// ranks; on as many as before with the same bits.
TEST(ShardedBase, AKilledRankEndsTheRunAndTheSnapshotGoesOn) {
  const DistributedWorkspace work;
  expect_ranks_done(work.train_args("whole"), 2);
  Ranks ranks(leash_command(work.train_args("run", kShard)), 2, {.timeout_seconds = 300});
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
  expect_ranks_done(work.train_args("run", joined(kShard, {"--resume"})), 2);
  work.expect_same_run("whole", "run");
  expect_ranks_done(work.train_args("copy", {"--resume"}), 2);
  work.expect_same_run("whole", "copy");
}

// Rank 1 fails between gathers, where rank 0 waits for it.
TEST(ShardedBase, AnErrorOfOneRankEndsAll) {
  const DistributedWorkspace work;
  write_text(work / "fails.sh",
             "test \"$RANK\" = 0 || exit 3\nsleep 1\nwhile read line; do echo 1; done\n");
  const Lines fails = {
      "--set", "reward=[{kind: command, command: sh " + (work / "fails.sh").string() + "}]"};
  Ranks ranks(leash_command(work.train_args("run", joined(kShardForEveryToken, fails))), 2,
              {.timeout_seconds = 120});
  const auto ended = ranks.wait();
  for (const Ended& each : ended) {
    EXPECT_FALSE(each.timed_out);
    EXPECT_NE(each.code, 0);
  }
}

}  // namespace
}  // namespace leash::testing

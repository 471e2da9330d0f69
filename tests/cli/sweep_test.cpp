// leash sweep: runs side by side have the files and numbers of runs alone.
#include <fmt/format.h>

#include <csignal>

#include "tests/cli/run_workspace.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

Lines sweep_args(const RunWorkspace& work, const Lines& more) {
  Lines args = {"sweep", work.recipe().string(), "--run-dir", (work / "sweep").string()};
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

Json record_of(const RunWorkspace& work) {
  return Json::parse(read_text(work / "sweep/sweep.json"));
}

std::string status_of(const RunWorkspace& work, size_t run) {
  return record_of(work).at("runs").at(run).at("status");
}

const Lines kTwoByTwo = {"--grid", "ppo.kl_coef=0.02,0.5", "--seeds", "2"};

TEST(Sweep, RunsSideBySideAreThoseOfEachAloneBitForBit) {
  const RunWorkspace work;
  expect_done(run_leash(sweep_args(work, kTwoByTwo)));
  for (const char* price : {"0.02", "0.5"}) {
    for (const char* seed : {"5", "6"}) {
      const std::string name = fmt::format("kl_coef={}_seed={}", price, seed);
      const std::string alone = fmt::format("alone-{}-{}", price, seed);
      expect_done(work.train(alone, {"--set", fmt::format("ppo.kl_coef={}", price), "--set",
                                     fmt::format("run.seed={}", seed)}));
      work.expect_equal_runs("sweep/" + name, alone);
      EXPECT_TRUE(std::filesystem::exists(work / "sweep" / name / "report.html"));
    }
  }
  const Ended evaluated =
      run_leash({"evaluate", "--run-dir", (work / "sweep/kl_coef=0.5_seed=6").string(), "--json"});
  expect_done(evaluated);
  EXPECT_EQ(evaluated.out,
            run_leash({"evaluate", "--run-dir", (work / "alone-0.5-6").string(), "--json"}).out);
}

TEST(Sweep, ASignalStopsAllWithSnapshotsAndResumingGivesTheSameRuns) {
  const RunWorkspace work;
  Process process(leash_command(sweep_args(work, kTwoByTwo)));
  process.wait_until([&] { return work.steps_written("sweep/kl_coef=0.02_seed=5") >= 3; });
  process.signal(SIGINT);
  const Ended ended = process.wait();
  EXPECT_EQ(ended.code, 130) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("go on with: leash sweep "));
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(status_of(work, i), "interrupted");
    const std::string name = record_of(work)["runs"][i]["name"];
    EXPECT_FALSE(std::filesystem::is_empty(work / "sweep" / name / "snapshots")) << name;
  }
  Lines more = kTwoByTwo;
  expect_error(run_leash(sweep_args(work, more)), 2, "holds a sweep already");
  more.push_back("--resume");
  expect_done(run_leash(sweep_args(work, more)));
  expect_done(work.train("alone", {"--set", "ppo.kl_coef=0.5"}));
  work.expect_equal_runs("sweep/kl_coef=0.5_seed=5", "alone");
  // What is done stays so.
  const auto written =
      std::filesystem::last_write_time(work / "sweep/kl_coef=0.5_seed=5/metrics.jsonl");
  expect_done(run_leash(sweep_args(work, more)));
  EXPECT_EQ(std::filesystem::last_write_time(work / "sweep/kl_coef=0.5_seed=5/metrics.jsonl"),
            written);
}

TEST(Sweep, OneThatFailsEndsAlone) {
  const RunWorkspace work;
  const Ended ended = run_leash(sweep_args(
      work, {"--grid", "ppo.learning_rate=1e-3,1e30", "--set", "ppo.max_grad_norm=1e30"}));
  EXPECT_EQ(ended.code, 1) << ended.err;
  EXPECT_EQ(status_of(work, 0), "done");
  EXPECT_EQ(status_of(work, 1), "failed");
  EXPECT_THAT(record_of(work)["runs"][1]["why"].get<std::string>(), HasSubstr("step "));
  EXPECT_FALSE(std::filesystem::exists(work / "sweep/learning_rate=1e30/adapter"));
  EXPECT_TRUE(std::filesystem::exists(work / "sweep/learning_rate=1e-3/adapter"));
}

TEST(Sweep, LosersStopEarly) {
  const RunWorkspace work;
  const std::string recipe = read_text(work.recipe());
  write_text(work.recipe(),
             recipe +
                 "sweep: {grid: {ppo.learning_rate: [1e-6, 1e-3, 1e-2]}, jobs: 3,\n"
                 "        stop: {metric: ppo_no_such, worse_than_median_after: 2}}\n");
  const Ended never = run_leash(sweep_args(work, {}));
  expect_done(never);
  EXPECT_THAT(never.err, HasSubstr("sweep.stop.metric: no run logged ppo_no_such"));
  std::filesystem::remove_all(work / "sweep");
  write_text(work.recipe(), recipe +
                                "sweep: {grid: {ppo.learning_rate: [1e-6, 1e-3, 1e-2]}, jobs: 3,\n"
                                "        stop: {metric: lr, worse_than_median_after: 2}}\n");
  expect_done(run_leash(sweep_args(work, {})));
  EXPECT_EQ(status_of(work, 0), "stopped");
  EXPECT_EQ(record_of(work)["runs"][0]["step"], 2);
  EXPECT_EQ(status_of(work, 1), "done");
  EXPECT_EQ(status_of(work, 2), "done");
}

TEST(Sweep, RefusesBeforeItLoadsAnything) {
  const RunWorkspace work;
  expect_error(run_leash(sweep_args(work, {"--grid", "ppo.kl_coeff=1,2"})), 2,
               "ppo.kl_coeff: there is no such setting");
  expect_error(run_leash(sweep_args(work, {"--seeds", "0"})), 2, "--seeds has to be between");
  expect_error(run_leash({"sweep"}), 2, "a recipe is missing");
  expect_error(run_leash(sweep_args(work, {}), {.environment = {{"RANK", "0"},
                                                                {"WORLD_SIZE", "2"},
                                                                {"MASTER_ADDR", "127.0.0.1"},
                                                                {"MASTER_PORT", "29511"}}}),
               2, "a sweep runs in one process");
  expect_done(run_leash(sweep_args(work, {"--set", "ppo.total_episodes=8"})));
  expect_error(
      run_leash(sweep_args(work, {"--resume", "--seeds", "2", "--set", "ppo.total_episodes=8"})), 2,
      "holds a sweep of other runs");
}

}  // namespace
}  // namespace leash::testing

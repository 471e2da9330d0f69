// What every task promises, asked of each row of configs/tasks.h by a tiny recipe: six steps, a
// snapshot after every second one, held-out data, shares that are uneven on two ranks.
#include <cmath>
#include <map>
#include <memory>
#include <regex>

#include "configs/experiment.h"
#include "tests/rl/sft/run.h"
#include "tests/support/pretend_device.h"
#include "tests/tasks/task_runs.h"

namespace leash::testing {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

// Sums that ranks and devices add up in another order stay close.
const Lines kWide = {"--dtype", "float64"};

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for_each_task([&]<class Setup>() { names.emplace_back(TaskTraits<Setup>::name); });
  return names;
}

class EveryTask : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    ASSERT_TRUE(std::filesystem::exists(task_recipe(GetParam())))
        << "add " << task_recipe(GetParam()).string() << ", a tiny recipe of `task: " << GetParam()
        << "`, with its data beside it";
    std::unique_ptr<TaskRuns>& runs = all_runs()[GetParam()];
    if (!runs) runs = std::make_unique<TaskRuns>(GetParam());
    work = runs.get();
  }

  // The recipe's run, which most tests look at.
  void need_whole() {
    work->need("whole");
    ASSERT_GE(work->snapshots("whole").size(), 3u) << "let the recipe write three snapshots";
  }

  TaskRuns* work = nullptr;

 private:
  static std::map<std::string, std::unique_ptr<TaskRuns>>& all_runs() {
    static std::map<std::string, std::unique_ptr<TaskRuns>> runs;
    return runs;
  }
};

INSTANTIATE_TEST_SUITE_P(Rows, EveryTask, ::testing::ValuesIn(task_names()),
                         [](const auto& row) { return row.param; });

TEST_P(EveryTask, AfterSigkillTheRunEndsAsIfNothingHadHappened) {
  need_whole();
  work->kill_on_the_way("killed", work->snapshots("whole").size());
  expect_done(run_leash(work->args("killed", {"--resume"})));
  work->expect_same_run("whole", "killed");
  EXPECT_EQ(read_text(*work / "whole/resolved.yaml"), read_text(*work / "killed/resolved.yaml"));
}

TEST_P(EveryTask, OnTwoRanksIsThatOfOneAndShardedTheSameBits) {
  work->need("one", kWide);
  expect_ranks_done(work->args("two", kWide), 2);
  work->expect_near_runs("one", "two");
  Lines sharded = kWide;
  sharded.insert(sharded.end(), {"--set", "run.fsdp=full_shard"});
  expect_ranks_done(work->args("sharded", sharded), 2);
  work->expect_same_run("two", "sharded");
}

TEST_P(EveryTask, OnAnotherDeviceIsThatOfTheCpu) {
  (void)pretend_device();
  work->need("one", kWide);
  std::visit(
      [&]<class Setup>(Setup setup) {
        setup.model.dtype = DtypeChoice::float64;
        setup.devices.policy = "pretend";
        (void)run_with<typename TaskTraits<Setup>::Trainer>(setup, *work / "there");
      },
      load_experiment(work->recipe()).experiment.setup);
  work->expect_near_runs("one", "there", 1e-3, 1e-2);
}

TEST_P(EveryTask, TrainsOnAQuantisedBase) {
  need_whole();
  const std::string base = read_text(work->model() / "model.safetensors");
  expect_done(run_leash(work->args("nf4", {"--set", "model.quantize=nf4"})));
  EXPECT_TRUE(read_text(work->model() / "model.safetensors") == base);
  EXPECT_NE(work->metrics("nf4"), work->metrics("whole"));
  int losses = 0;
  for (const Json& row : work->rows("nf4")) {
    for (const auto& [name, value] : row.items()) {
      if (name != "loss" && !name.starts_with("loss/")) continue;
      EXPECT_TRUE(value.is_number()) << name << " of " << row;  // what is not finite is null
      ++losses;
    }
  }
  EXPECT_GT(losses, 0);
  const auto adapter = [](const Snapshot& snapshot) {
    return read_text(snapshot.path / "adapter_model.safetensors");
  };
  const auto snapshots = work->snapshots("nf4");
  ASSERT_FALSE(snapshots.empty());
  EXPECT_FALSE(adapter(snapshots.front()) == adapter(snapshots.back()));
}

// A figure of an evaluation: a number, or the mean that stands in an interval.
std::optional<double> figure(const Json& value) {
  if (value.is_number()) return value.get<double>();
  return value.is_object() && value.contains("mean") ? figure(value["mean"]) : std::nullopt;
}

TEST_P(EveryTask, IsEvaluatedAsInTheRun) {
  need_whole();
  const Ended ended = run_leash({"evaluate", "--run-dir", (*work / "whole").string(), "--snapshot",
                                 std::to_string(work->snapshots("whole").back().step), "--json"});
  expect_done(ended);
  const Json row = work->rows("whole").back();
  const auto lines = json_lines(ended.out);
  ASSERT_FALSE(lines.empty());
  for (const Json& line : lines) {
    EXPECT_EQ(line["step"], row["step"]);
    const std::string way =
        line.contains("decoding") ? line["decoding"].get<std::string>() + "/" : "";
    int found = 0;
    for (const auto& [name, value] : line.items()) {
      const auto logged = row.find("eval/" + way + name);
      if (logged == row.end() || !figure(value)) continue;
      EXPECT_EQ(*figure(value), *logged) << name;
      ++found;
    }
    EXPECT_GT(found, 0) << line;
  }
  // Without a snapshot's number, what adapter/ holds.
  const Ended exported = run_leash({"evaluate", "--run-dir", (*work / "whole").string(), "--json"});
  expect_done(exported);
  const int64_t step = json_lines(exported.out).at(0)["step"];
  EXPECT_TRUE(read_text(*work / "whole/adapter/adapter_model.safetensors") ==
              read_text(snapshot_of(*work / "whole", step).path / "adapter_model.safetensors"))
      << step;
}

TEST_P(EveryTask, HasAReportWithItsCharts) {
  need_whole();
  const std::string report = read_text(*work / "whole/report.html");
  const size_t training = report.find("<h2>Training</h2>"), other = report.find("<details>");
  EXPECT_LT(training, report.find("<svg", training)) << "are its metrics in known_charts()?";
  EXPECT_LT(report.find("<svg", training), other);
  // Beside the training curve, or in charts of their own.
  EXPECT_THAT(report, AnyOf(HasSubstr(">held out</text>"), HasSubstr("<h2>Held-out data</h2>")));
  EXPECT_THAT(report, HasSubstr("Answers before and after"));
  EXPECT_THAT(report, HasSubstr("task: " + GetParam()));
}

// Nearly all of so small a run is the process itself.
TEST_P(EveryTask, IsPlannedNearWhatItTakes) {
  need_whole();
  const Ended ended = run_leash({"plan", work->recipe().string(), "--json"});
  expect_done(ended);
  const Json plan = json_lines(ended.out).at(0);
  EXPECT_EQ(plan["task"], GetParam());
  const double planned = plan["peak_bytes"].get<double>();
  const double measured = 1e6 * work->rows("whole").back()["perf/peak_memory_mb"].get<double>();
  EXPECT_GT(planned, 0.5 * measured);
  EXPECT_LT(planned, 2 * measured);
}

TEST_P(EveryTask, ResolvedYamlReproducesTheRun) {
  need_whole();
  std::filesystem::create_directories(*work / "elsewhere");
  expect_done(run_leash(
      {"train", (*work / "whole/resolved.yaml").string(), "--run-dir", (*work / "again").string()},
      {.folder = *work / "elsewhere"}));
  work->expect_same_run("whole", "again");
  EXPECT_EQ(read_text(*work / "whole/resolved.yaml"), read_text(*work / "again/resolved.yaml"));
}

// From `begin` up to the next `end`, or all the rest.
std::string part(const std::string& text, const std::string& begin, const std::string& end) {
  const size_t at = text.find(begin);
  if (at == std::string::npos) return "";
  return text.substr(at, text.find(end, at + begin.size()) - at);
}

TEST_P(EveryTask, HasItsSettingsInTheDocs) {
  need_whole();
  const std::string docs =
      part(read_text(repository("docs/configs.md")), "\n# `task: " + GetParam() + "`\n", "\n# ");
  std::string table;
  for (const std::string& line : lines_of(read_text(*work / "whole/resolved.yaml"))) {
    std::smatch key;
    if (std::regex_match(line, key, std::regex("([a-z0-9_]+):"))) {
      table = part(docs, "\n## `" + key.str(1) + "`", "\n## ");
      EXPECT_THAT(table, HasSubstr("\n| key | default | values | meaning |\n")) << line;
    } else if (std::regex_search(line, key, std::regex("^ +(?:- )?([a-z0-9_]+): "))) {
      EXPECT_THAT(table, HasSubstr("\n| `" + key.str(1) + "` |")) << line;
    }
  }
  EXPECT_NE(table, "");
}

}  // namespace
}  // namespace leash::testing

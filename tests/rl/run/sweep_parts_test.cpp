// Turns, the rule that ends losers, and the record of a sweep.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <thread>
#include <vector>

#include "models/errors.h"
#include "rl/run/median_stop.h"
#include "rl/run/metrics_tail.h"
#include "rl/run/sweep_record.h"
#include "rl/run/turns.h"
#include "tests/support/files.h"

namespace leash {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ScratchFolder;
using ::testing::ThrowsMessage;
using testing::write_text;

TEST(ThreadsTurns, GoRoundInTheOrderInWhichTheyJoined) {
  Turns turns;
  std::vector<size_t> order;  // written by whoever has the turn
  for (size_t who = 0; who < 3; ++who) turns.join(who);
  {
    std::vector<std::jthread> threads;
    for (const size_t who : {2u, 0u, 1u}) {
      threads.emplace_back([&, who] {
        turns.wait(who);
        for (size_t step = 0; step <= who; ++step) {  // 0 leaves first
          order.push_back(who);
          turns.pass(who);
        }
        turns.leave(who);
      });
    }
  }
  EXPECT_THAT(order, ElementsAre(0, 1, 2, 1, 2, 2));
}

TEST(Turns, AnotherOnesTurnIsNobodyElses) {
  Turns turns;
  turns.join(0);
  turns.join(1);
  EXPECT_THROW(turns.pass(1), std::logic_error);
  EXPECT_THROW(turns.leave(1), std::logic_error);
}

TEST(MedianStop, ComparesAtTheSameStep) {
  const std::vector<MetricBySteps> runs = {
      {{2, 1.0}, {4, 9.0}}, {{2, 2.0}}, {{2, 3.0}, {4, 1.0}}, {{3, 100.0}}};
  EXPECT_TRUE(worse_than_median(runs, 0, 2, {}));  // of 1, 2, 3
  EXPECT_FALSE(worse_than_median(runs, 1, 2, {}));
  EXPECT_FALSE(worse_than_median(runs, 2, 2, {}));
  EXPECT_TRUE(worse_than_median(runs, 2, 2, {.lower_is_better = true}));
  EXPECT_FALSE(worse_than_median(runs, 0, 2, {.after = 3}));
  EXPECT_FALSE(worse_than_median(runs, 2, 4, {})) << "two runs tell nothing";
  EXPECT_FALSE(worse_than_median(runs, 1, 4, {})) << "not logged there";
}

TEST(MedianStop, WhatIsNoNumberIsWorse) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<MetricBySteps> runs = {{{1, nan}}, {{1, 2.0}}, {{1, 3.0}}};
  EXPECT_TRUE(worse_than_median(runs, 0, 1, {}));
  EXPECT_TRUE(worse_than_median(runs, 0, 1, {.lower_is_better = true}));
}

TEST(SweepRecord, ReadsBackAndKeepsTheOrderOfSettings) {
  const ScratchFolder folder;
  const SweepRecord record{
      .recipe = "r.yaml",
      .task = "ppo",
      .max_kl = 7.5,
      .runs = {{.name = "a", .settings = {{"z.b", "1e-4"}, {"a.c", "x"}}, .seed = 3},
               {.name = "b",
                .seed = 4,
                .status = SweepStatus::failed,
                .step = 2,
                .why = "the loss is nan"}}};
  write_sweep_record(folder.path(), record);
  const SweepRecord read = read_sweep_record(folder.path());
  EXPECT_EQ(read.max_kl, record.max_kl);
  EXPECT_EQ(read.runs[0].settings, record.runs[0].settings);
  EXPECT_EQ(read.runs[1].why, "the loss is nan");
  EXPECT_EQ(read.runs[1].status, SweepStatus::failed);
}

TEST(SweepRecord, NamesNoFolderElsewhere) {
  const ScratchFolder folder;
  for (const char* name : {"../x", "", ".", "..", "a/b", "/etc"}) {
    write_sweep_record(folder.path(), {.runs = {{.name = name}}});
    EXPECT_THAT([&] { (void)read_sweep_record(folder.path()); },
                ThrowsMessage<FormatError>(HasSubstr("name: is no folder beside it")))
        << name;
  }
  write_text(folder / "sweep.json", "{\"recipe\": 3}");
  EXPECT_THAT([&] { (void)read_sweep_record(folder.path()); },
              ThrowsMessage<FormatError>(HasSubstr("is no record of a sweep")));
}

TEST(MetricsTail, ReadsWholeLinesOnce) {
  const ScratchFolder folder;
  MetricsTail tail(folder / "metrics.jsonl");
  EXPECT_TRUE(tail.next().empty());
  write_text(folder / "metrics.jsonl", "{\"step\": 1, \"a\": 2.5}\n{\"step\": 2, ");
  ASSERT_EQ(tail.next().size(), 1u);
  write_text(folder / "metrics.jsonl",
             "{\"step\": 1, \"a\": 2.5}\n{\"step\": 2, \"a\": null}\n{\"step\": 3}\n");
  const auto rows = tail.next();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].step, 2);
  EXPECT_TRUE(std::isnan(rows[0].metrics.at(0).second));
  write_text(folder / "other.jsonl", "[]\n");
  MetricsTail other(folder / "other.jsonl");
  EXPECT_THROW((void)other.next(), FormatError);
}

}  // namespace
}  // namespace leash

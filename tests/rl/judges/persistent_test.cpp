// Reward programs that are started once.
#include "rl/judges/persistent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <stdexcept>
#include <thread>

#include "rl/reward/command.h"
#include "tests/support/files.h"
#include "tests/support/process.h"

namespace leash {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::read_text;
using testing::ScratchFolder;
using testing::write_text;

PersistentProgram program(const std::string& command, const PersistentLimits& limits = {}) {
  return {command, limits, {}};
}

std::string error_of(PersistentProgram& asked, size_t count = 2) {
  try {
    std::string lines;
    for (size_t i = 0; i < count; ++i) lines += std::to_string(i + 1) + "\n";
    asked.ask(lines, count);
    return "no error";
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

constexpr const char* kCounts = "n=0; while read -r line; do n=$((n + 1)); echo $n; done";

TEST(PersistentReward, IsStartedOnceAndAnswersInOrder) {
  PersistentProgram counts = program(kCounts);
  EXPECT_THAT(counts.ask("a\nb\n", 2), ElementsAre(1, 2));
  EXPECT_THAT(counts.ask("c\n", 1), ElementsAre(3));
  EXPECT_EQ(counts.restarts(), 0);
}

// More than a pipe holds, both ways, to a program that answers as it reads.
TEST(PersistentReward, LargeBatches) {
  PersistentProgram counts = program(kCounts);
  std::string lines;
  for (int i = 0; i < 3000; ++i) lines += std::string(200, 'x') + "\n";
  for (const double first : {1, 3001}) {
    const auto scores = counts.ask(lines, 3000);
    EXPECT_EQ(scores.front(), first);
    EXPECT_EQ(scores.back(), first + 2999);
  }
}

TEST(PersistentReward, AProgramThatEndsIsStartedAgainAndAskedForTheWholeBatch) {
  const ScratchFolder folder;
  // Ends after its third line, wherever that is in a batch.
  const std::string command = "echo x >>" + (folder / "starts").string() +
                              "; for i in 1 2 3; do read -r line && echo $i; done";
  PersistentProgram ends = program(command, {.max_restarts = 2});
  EXPECT_THAT(ends.ask("a\nb\n", 2), ElementsAre(1, 2));
  EXPECT_THAT(ends.ask("a\nb\n", 2), ElementsAre(1, 2));  // not 3 and then 1
  EXPECT_THAT(ends.ask("a\nb\nc\n", 3), ElementsAre(1, 2, 3));
  EXPECT_EQ(read_text(folder / "starts"), "x\nx\nx\n");
  EXPECT_THAT(error_of(ends, 4),
              HasSubstr("ended with 0 before it had answered, after 2 restarts"));
  PersistentProgram fails = program("exit 5", {.max_restarts = 0});
  EXPECT_THAT(error_of(fails), HasSubstr("ended with 5 before it had answered, after 0 restarts"));
}

TEST(PersistentReward, WhatIsNoScoreEndsIt) {
  for (const auto& [command, problem] : std::map<std::string, std::string>{
           {"while read -r line; do echo nan; done", "printed `nan` where a number"},
           {"echo ready; while read -r line; do echo 1; done", "printed `ready`"},
           {"while read -r line; do echo 1; echo 2; done", "behind its 2 scores"},
           {"while read -r line; do echo '{\"score\": 1, \"index\": 0}'; done", "answered index 0"},
           {"while read -r line; do echo '{\"error\": \"lost\"}'; done", "says of answer 1: lost"},
           {"yes 1", "printed"},
           {"read -r line; kill -STOP $$", "was stopped by signal 19"}}) {
    PersistentProgram wrong = program(command);
    EXPECT_THAT(error_of(wrong), HasSubstr(problem)) << command;
  }
}

// It would be taken for the first answer of the next batch.
TEST(PersistentReward, ALineThatComesLateIsSeen) {
  PersistentProgram late = program("while read -r line; do echo 1; (sleep 0.2; echo 2) & done");
  EXPECT_THAT(late.ask("a\n", 1), ElementsAre(1));
  std::this_thread::sleep_for(std::chrono::milliseconds(600));
  EXPECT_THAT(error_of(late, 1), HasSubstr("printed `2` without being asked"));
}

TEST(PersistentReward, EndsInTimeWithAllThatItStarted) {
  const ScratchFolder folder;
  const auto file = folder / "pid";
  const std::string leaves = "sleep 300 & echo $! >" + file.string() + "; ";
  const auto gone = [&] { return testing::ends_soon(std::stoi(read_text(file))); };
  PersistentProgram buffers = program(leaves + "cat >/dev/null", {.seconds = 2});
  EXPECT_THAT(error_of(buffers), HasSubstr("gave 0 of 2 scores within 2 s (timeout_seconds); a "
                                           "persistent program answers each line"));
  EXPECT_TRUE(gone());
  {
    PersistentProgram fine = program(leaves + kCounts);
    EXPECT_THAT(fine.ask("a\n", 1), ElementsAre(1));
  }
  EXPECT_TRUE(gone());
  {  // its last words are waited for, two seconds at most
    PersistentProgram polite = program(std::string(kCounts) + "; echo bye >" + file.string());
    EXPECT_THAT(polite.ask("a\n", 1), ElementsAre(1));
  }
  EXPECT_EQ(read_text(file), "bye\n");
}

TEST(PersistentReward, GetsTheBatchWithItsCount) {
  const ScratchFolder folder;
  const CommandReward reward(CommandOptions{.command = "while read -r line; do echo \"$line\" >>" +
                                                       (folder / "lines").string() +
                                                       "; echo 1; done",
                                            .mode = CommandMode::persistent});
  EXPECT_THAT(reward.score({{.answer = "a"}, {.answer = "b"}}), ElementsAre(1, 1));
  EXPECT_THAT(reward.score({}), ElementsAre());
  EXPECT_THAT(read_text(folder / "lines"),
              HasSubstr(R"("answer":"b","ended":false,"step":0,"row":null,"index":1,"count":2})"));
}

}  // namespace
}  // namespace leash

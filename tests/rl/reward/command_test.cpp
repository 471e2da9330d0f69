// Rewards from the user's own program.
#include "rl/reward/command.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <stdexcept>

#include "rl/run/interrupt.h"
#include "tests/support/files.h"
#include "tests/support/process.h"

namespace leash {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::read_text;
using testing::ScratchFolder;

std::vector<RewardSample> samples(size_t count, size_t length) {
  std::vector<RewardSample> result;
  for (size_t i = 0; i < count; ++i) {
    result.push_back({.prompt = "p", .answer = std::string(length + i, 'x'), .ended = i % 2 == 0});
  }
  return result;
}

std::string error_of(const std::string& command, size_t count = 3, double timeout_seconds = 60) {
  try {
    CommandReward(command, timeout_seconds).score(samples(count, 1));
    return "no error";
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

TEST(CommandReward, ScoresEachAnswerInOrder) {
  // The lines differ in nothing but the answers' lengths and `ended`.
  const std::vector<double> scores =
      CommandReward("awk '{print length($0) / 2}'").score(samples(3, 1));
  ASSERT_EQ(scores.size(), 3u);
  EXPECT_DOUBLE_EQ(scores[1] - scores[0], 1.0);  // one x and "false" instead of "true"
  EXPECT_DOUBLE_EQ(scores[2] - scores[0], 1.0);  // two x
}

TEST(CommandReward, ReadsWhatIsWrittenToIt) {
  const std::vector<double> scores =
      CommandReward(
          R"(grep -c '^{"prompt":"p","messages":null,"answer":"x","ended":true,"step":0,"row":null}$')")
          .score(samples(1, 1));
  EXPECT_EQ(scores, std::vector<double>{1.0});
}

TEST(CommandReward, ReadsEverythingThatIsKnown) {
  RewardSample sample{.prompt = "<u>hi",
                      .answer = "a\xFF",
                      .prompt_ids = {4, 5},
                      .token_ids = {6, 2},
                      .messages = {{"user", "hi"}},
                      .step = 7};
  sample.row = std::make_shared<const nlohmann::ordered_json>(
      nlohmann::ordered_json::parse(R"({"id": 9007199254740993, "gold": [0.1], "é": null})"));
  const ScratchFolder folder;
  const auto file = folder / "lines";
  const CommandReward reward(
      CommandOptions{.command = "tee " + file.string() + " | sed 's/.*/1/'", .ids = true});
  EXPECT_THAT(reward.score({sample}), ElementsAre(1));
  EXPECT_EQ(read_text(file),
            R"({"prompt":"<u>hi","messages":[{"role":"user","content":"hi"}],"answer":"a)"
            "\uFFFD"
            R"(",)"
            R"("ended":false,"step":7,"row":{"id":9007199254740993,"gold":[0.1],"é":null},)"
            R"("prompt_ids":[4,5],"answer_ids":[6,2]})"
            "\n");
}

TEST(CommandReward, RunsInItsFolder) {
  const ScratchFolder folder;
  testing::write_text(folder / "mine.sh", "cat >/dev/null; echo 4\n");
  const CommandReward here(CommandOptions{.command = "sh mine.sh", .folder = folder.path()});
  EXPECT_THAT(here.score(samples(1, 1)), ElementsAre(4));
  const CommandReward nowhere(CommandOptions{.command = "sh mine.sh", .folder = folder / "absent"});
  EXPECT_THROW(nowhere.score(samples(1, 1)), std::system_error);
}

TEST(CommandReward, WhatItComplainsOfIsInTheLog) {
  const ScratchFolder folder;
  const CommandReward reward(
      CommandOptions{.command = "cat >/dev/null; echo first >&2; echo '  why\x1b' >&2; exit 3",
                     .label = "my/own label"});
  for (const int64_t rank : {0, 2}) {
    reward.keep_logs_in(folder.path(), rank);
    const auto log =
        folder / (rank == 0 ? "reward-my_own_label.log" : "reward-my_own_label-rank-2.log");
    try {
      reward.score(samples(1, 1));
      ADD_FAILURE() << "it ended with 3";
    } catch (const std::runtime_error& error) {
      EXPECT_THAT(error.what(), HasSubstr("ended with 3; " + log.string() + " ends with:   why"));
    }
    EXPECT_THAT(read_text(log), HasSubstr("first\n  why"));
  }
}

// More than a pipe holds, both ways, from a program that answers as it reads.
TEST(CommandReward, LargeBatches) {
  const std::vector<double> scores = CommandReward("awk '{print NR}'").score(samples(2000, 500));
  ASSERT_EQ(scores.size(), 2000u);
  EXPECT_EQ(scores.back(), 2000);
}

TEST(CommandReward, FailuresAreErrors) {
  EXPECT_THAT(error_of("cat >/dev/null; exit 3"), HasSubstr("ended with 3"));
  EXPECT_THAT(error_of("kill -9 $$"), HasSubstr("was killed by signal 9"));
  EXPECT_THAT(error_of("cat >/dev/null; echo 1; echo 2"),
              HasSubstr("printed 2 numbers for 3 answers"));
  EXPECT_THAT(error_of("cat >/dev/null; echo 1; echo nan; echo 1"), HasSubstr("printed `nan`"));
  EXPECT_THAT(error_of("sed 's/.*/0.5 points/'"), HasSubstr("printed `0.5 points`"));
  EXPECT_THAT(error_of("sed 's/.*//'"), HasSubstr("printed ``"));
  for (const char* odd : {"0x10", "1e400", "inf", "+-1", "1,5", "1 2"}) {
    EXPECT_THAT(error_of(std::string("sed 's/.*/") + odd + "/'"), HasSubstr("was expected")) << odd;
  }
  EXPECT_THAT(error_of("sed 's/.*/{\"error\": \"no model\"}/'"),
              HasSubstr("says of answer 1: no model"));
  EXPECT_THAT(error_of("sed 's/.*/{\"score\": \"1\"}/'"), HasSubstr("was expected"));
  EXPECT_THAT(error_of("sed 's/.*/{\"score\": 1, \"index\": 1}/'"),
              HasSubstr("answered index 1 where 0 was next"));
  EXPECT_THAT(error_of("printf '1\\0garbage\\n1\\n1\\n'"), HasSubstr("was expected"));
  // It ends without reading, while a megabyte is on its way.
  EXPECT_THAT(error_of("exit 0", 4000), HasSubstr("printed 0 numbers for 4000 answers"));
}

TEST(CommandReward, NumbersAsProgramsWriteThem) {
  const std::string lines = "printf ' -1.5e-3\\t\\r\\n+2\\n.25'";  // no line break at the end
  EXPECT_THAT(CommandReward(lines).score(samples(3, 1)), ElementsAre(-1.5e-3, 2, 0.25));
}

// The process that wrote its number into the file.
bool is_gone(const std::filesystem::path& pid_file) {
  return testing::ends_soon(std::stoi(read_text(pid_file)));
}

// However it fails to end, and whatever it left behind.
TEST(CommandReward, EndsInTimeWithAllThatItStarted) {
  const ScratchFolder folder;
  const auto file = folder / "pid";
  const std::string leaves = "sleep 300 & echo $! >" + file.string() + "; cat >/dev/null; ";
  const auto begin = std::chrono::steady_clock::now();
  for (const char* way : {"sleep 300", "exec >&-; sleep 300"}) {
    std::filesystem::remove(file);
    EXPECT_THAT(error_of(leaves + way, 3, 3), HasSubstr("did not end within 3 s (timeout_seconds)"))
        << way;
    EXPECT_TRUE(is_gone(file)) << way;
  }
  EXPECT_THAT(error_of(leaves + "kill -STOP $$"), HasSubstr("was stopped by signal 19"));
  EXPECT_TRUE(is_gone(file));
  EXPECT_THAT(error_of(leaves + "exit 1"), HasSubstr("ended with 1"));
  EXPECT_TRUE(is_gone(file));
  // The one that it left behind has its standard output.
  EXPECT_EQ(CommandReward(leaves + "echo 1").score(samples(1, 1)), std::vector<double>{1.0});
  EXPECT_TRUE(is_gone(file));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
}

TEST(CommandReward, OutputIsBounded) {
  EXPECT_THAT(error_of("yes 1"), HasSubstr("printed more than 67072 bytes"));
  EXPECT_THAT(error_of("yes 1 & echo 1"), HasSubstr("the reward command `yes 1 & echo 1` printed"));
}

// Not a socket of the ranks', for one: whoever waits for its end would wait for the program.
// leash ignores both while it runs; an ignored signal would stay ignored behind exec.
TEST(CommandReward, SignalsOfAWriteHaveTheirDefaults) {
  ignore_write_signals();
  EXPECT_THAT(error_of("kill -PIPE $$; cat"), HasSubstr("was killed by signal 13"));
  EXPECT_THAT(error_of("kill -XFSZ $$; cat"), HasSubstr("was killed by signal 25"));
  for (const int signal : {SIGPIPE, SIGXFSZ}) ::signal(signal, SIG_DFL);
}

TEST(CommandReward, InheritsNoDescriptor) {
  const int ours = ::open("/dev/null", O_RDONLY);  // without O_CLOEXEC
  ASSERT_GT(ours, 2);
  const std::string command = "for f in 3 4 5 6 7 8 9 " + std::to_string(ours) +
                              "; do [ -e /proc/$$/fd/$f ] && echo $f; done; echo 0";
  EXPECT_EQ(CommandReward(command).score(samples(1, 1)), std::vector<double>{0.0});
  ::close(ours);
}

}  // namespace
}  // namespace leash

// Rewards from the user's own program.
#include "rl/reward/command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

namespace leash {
namespace {

using ::testing::HasSubstr;

std::vector<RewardSample> samples(size_t count, size_t length) {
  std::vector<RewardSample> result;
  for (size_t i = 0; i < count; ++i) {
    result.push_back({.prompt = "p", .answer = std::string(length + i, 'x'), .ended = i % 2 == 0});
  }
  return result;
}

std::string error_of(const std::string& command, size_t count = 3) {
  try {
    CommandReward(command).score(samples(count, 1));
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
      CommandReward(R"(grep -c '^{"prompt":"p","answer":"x","ended":true}$')").score(samples(1, 1));
  EXPECT_EQ(scores, std::vector<double>{1.0});
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
  // It ends without reading, while a megabyte is on its way.
  EXPECT_THAT(error_of("exit 0", 4000), HasSubstr("printed 0 numbers for 4000 answers"));
}

}  // namespace
}  // namespace leash

// Which groups of answers are learnt from.
#include "rl/policy/dynamic_sampling.h"

#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>

#include "rl/policy/group_advantages.h"

namespace leash {
namespace {

using ::testing::ElementsAre;

std::vector<JudgedAnswer> judged_answers(const std::vector<double>& scores) {
  std::vector<JudgedAnswer> judged;
  for (size_t i = 0; i < scores.size(); ++i) {
    JudgedAnswer& one = judged.emplace_back();
    one.answer.sample = i;
    one.prompt = static_cast<int64_t>(i / 2);
    one.score = scores[i];
  }
  return judged;
}

std::vector<int64_t> prompts_of_rows(const std::vector<JudgedAnswer>& judged) {
  std::vector<int64_t> prompts;
  for (size_t i = 0; i < judged.size(); ++i) {
    EXPECT_EQ(judged[i].answer.sample, i);
    prompts.push_back(judged[i].prompt);
  }
  return prompts;
}

TEST(DynamicSampling, GroupsWithSignalComeFirstAndOthersFillUp) {
  const std::vector<double> scores = {1, 1, 0, 1, 0, 0, 1, 0, 0, 1};
  EXPECT_EQ(num_groups_with_signal(judged_answers(scores), 2), 3);
  EXPECT_THAT(prompts_of_rows(choose_groups(judged_answers(scores), 2, 2)),
              ElementsAre(1, 1, 3, 3));
  EXPECT_THAT(prompts_of_rows(choose_groups(judged_answers(scores), 2, 4)),
              ElementsAre(1, 1, 3, 3, 4, 4, 0, 0));
}

TEST(FlatGroups, AreSplitIntoHighAndLow) {
  const auto shares = [](const std::vector<double>& scores) {
    const FlatGroups flat = flat_group_share(at::tensor(scores, at::kDouble), 2);
    return std::vector<double>{flat.share, flat.high, flat.low};
  };
  EXPECT_THAT(shares({1, 1, 0, 1, 0, 0, 0, 0}), ElementsAre(0.75, 0.25, 0.5));
  EXPECT_THAT(shares({-1, -1, -9, -9, -2, -1, -9, -9}), ElementsAre(0.75, 0.25, 0.5));
  EXPECT_THAT(shares({1, 1, 1, 1}), ElementsAre(1, 1, 0));
  EXPECT_THAT(shares({0, 0, 0, 0}), ElementsAre(1, 0, 1));
  EXPECT_THAT(shares({0, 1, 1, 0}), ElementsAre(0, 0, 0));
}

}  // namespace
}  // namespace leash

// numeric_answer and exact_answer.
#include <gmock/gmock.h>

#include "models/errors.h"
#include "rl/reward/functions.h"

namespace leash {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

RewardConfig answer_function(const std::string& name, std::optional<Extract> extract = {}) {
  RewardConfig config;
  config.name = name;
  config.column = "gold";
  config.extract = extract;
  return config;
}

double score(const RewardConfig& config, const std::string& answer,
             const nlohmann::ordered_json& gold) {
  RewardSample sample{.answer = answer};
  sample.row =
      std::make_shared<const nlohmann::ordered_json>(nlohmann::ordered_json{{"gold", gold}});
  return RewardFunction(config)(sample);
}

std::string row_problem(const RewardConfig& config, const nlohmann::ordered_json& row) {
  try {
    RewardFunction(config).check_row(&row);
    return "";
  } catch (const FormatError& error) {
    return error.what();
  }
}

TEST(NumericAnswer, TheLastNumber) {
  const RewardConfig config = answer_function("numeric_answer");
  EXPECT_EQ(score(config, "First 3, then 4, so 1,234.", 1234), 1);
  EXPECT_EQ(score(config, "It is -5.", "-5"), 1);
  EXPECT_EQ(score(config, "It is -5.", 5), 0);
  EXPECT_EQ(score(config, "5 and then 6", 5), 0);
  EXPECT_EQ(score(config, "no idea", 5), 0);
  EXPECT_EQ(score(config, "", 0), 0);
  EXPECT_EQ(score(config, "50%", 0.5), 1);
  EXPECT_EQ(score(config, "50%", 50), 0);
  EXPECT_EQ(score(config, "18", "He makes 9 * 2 = $<<9*2=18>>18 every day.\n#### 18"), 1);
  EXPECT_EQ(score(config, "3", nlohmann::ordered_json::array({2, "3"})), 1);  // one of several
  EXPECT_EQ(score(config, "9007199254740993", 9007199254740993), 1);
  EXPECT_EQ(score(config, "9007199254740992", 9007199254740993), 0);
}

TEST(NumericAnswer, ParametersAndPlaces) {
  RewardConfig config = answer_function("numeric_answer");
  config.parameters = {{"tolerance", 0.01}, {"percent", 1}};
  EXPECT_EQ(score(config, "3.14", 3.1415), 1);
  EXPECT_EQ(score(config, "3.1", 3.1415), 0);
  EXPECT_EQ(score(config, "50%", 50), 1);
  const RewardConfig boxed = answer_function("numeric_answer", Extract::boxed);
  EXPECT_EQ(score(boxed, "\\boxed{\\frac{1}{2}}, which is 0.5 of 7", "1/2"), 1);
  EXPECT_EQ(score(boxed, "the answer is 7", 7), 0);
  EXPECT_EQ(score(boxed, "\\boxed{2\\sqrt{3}}", 3), 0);
  EXPECT_EQ(score(boxed, "\\boxed{5}", "so \\boxed{5}, not 6"), 1);
  RewardConfig marked = answer_function("numeric_answer", Extract::marker);
  EXPECT_EQ(score(marked, "#### 1 #### 72 eggs, 3 left", 72), 1);
  EXPECT_EQ(score(marked, "72", 72), 0);
  marked.marker = "Answer:";
  EXPECT_EQ(score(marked, "Answer: $12.50", 12.5), 1);
  const RewardConfig whole = answer_function("numeric_answer", Extract::whole);
  EXPECT_EQ(score(whole, " 5 apples ", 5), 1);
  EXPECT_EQ(score(whole, "4 or 5", 5), 0);
}

TEST(NumericAnswer, ARecordWithoutANumberIsNamed) {
  const RewardConfig config = answer_function("numeric_answer");
  EXPECT_EQ(row_problem(config, {{"gold", "7"}}), "");
  EXPECT_THAT(row_problem(config, {{"gold", "seven"}}), HasSubstr("`gold` holds no number: seven"));
  EXPECT_THAT(row_problem(config, {{"other", 1}}), HasSubstr("`gold` is missing"));
  EXPECT_THAT(row_problem(config, {{"gold", nullptr}}), HasSubstr("`gold` is null"));
  EXPECT_THAT(row_problem(config, {{"gold", nlohmann::ordered_json::array()}}), HasSubstr("empty"));
  EXPECT_THROW(RewardFunction(config).check_row(nullptr), FormatError);
  RewardConfig inner = config;
  inner.column = "reward_model.ground_truth";
  EXPECT_EQ(row_problem(inner, {{"reward_model", {{"ground_truth", 3}}}}), "");
  EXPECT_THAT(row_problem(inner, {{"reward_model", 3}}), HasSubstr("is missing"));
}

TEST(ExactAnswer, ComparesTexts) {
  RewardConfig config = answer_function("exact_answer");
  EXPECT_EQ(score(config, "  Paris\n", "Paris"), 1);
  EXPECT_EQ(score(config, "paris", "Paris"), 0);
  EXPECT_EQ(score(config, "Paris, France", "Paris"), 0);
  EXPECT_EQ(score(config, "a  b", "a b"), 1);
  EXPECT_EQ(score(config, "true", true), 1);
  config.ignore_case = true;
  EXPECT_EQ(score(config, "PARIS", "Paris"), 1);
  const RewardConfig marked = answer_function("exact_answer", Extract::marker);
  EXPECT_EQ(score(marked, "I think #### B.\nSurely.", "B"), 1);
  EXPECT_EQ(score(marked, "####\nB", "reasons #### B"), 1);
  EXPECT_EQ(score(marked, "#### B or C", "B"), 0);
  const RewardConfig boxed = answer_function("exact_answer", Extract::boxed);
  EXPECT_EQ(score(boxed, "\\boxed{ \\left(1,\\, 2\\right) }", "(1, 2)"), 1);
  EXPECT_EQ(score(boxed, "\\boxed{\\dfrac{1}{2}}", "\\boxed{\\frac12} no: \\boxed{\\frac{1}{2}}"),
            1);
  const RewardConfig last = answer_function("exact_answer", Extract::last);
  EXPECT_EQ(score(last, "from 3 to 1,234", "1,234"), 1);
  EXPECT_EQ(score(last, "from 3 to 1234", "1,234"), 0);
  EXPECT_THAT(row_problem(config, {{"gold", " "}}), HasSubstr("is empty"));
}

TEST(AnswerFunctions, ProblemsOfTheirKeys) {
  RewardConfig config = answer_function("numeric_answer");
  config.marker = "Answer:";
  config.ignore_case = true;
  config.parameters = {{"percent", 0}};
  EXPECT_THAT(reward_function_problems(config),
              ElementsAre(HasSubstr("parameters.percent: has to be above 0"),
                          HasSubstr("ignore_case: has no effect on numeric_answer"),
                          HasSubstr("marker: has no effect without extract: marker")));
  config = answer_function("exact_answer");
  config.column.reset();
  EXPECT_THAT(reward_function_problems(config),
              ElementsAre(HasSubstr("column: exact_answer needs")));
  EXPECT_THAT(reward_function_problems(answer_function("exact_answer")), IsEmpty());
}

}  // namespace
}  // namespace leash

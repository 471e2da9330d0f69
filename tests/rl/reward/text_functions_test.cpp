// Functions of an answer's text, beside what others say of it
// (tests/golden/make_reward_functions.py).
#include <gmock/gmock.h>

#include "models/errors.h"
#include "rl/reward/functions.h"
#include "tests/rl/json_tensors.h"

namespace leash {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::read_golden;

RewardConfig text_function(const std::string& name) {
  RewardConfig config;
  config.name = name;
  return config;
}

RewardSample with_row(const std::string& answer, const nlohmann::ordered_json& row) {
  RewardSample sample{.answer = answer};
  sample.row = std::make_shared<const nlohmann::ordered_json>(row);
  return sample;
}

TEST(GoldenRewardFunctions, JsonSchemaAsTheReferenceValidator) {
  size_t fitting = 0;
  const auto golden = read_golden("reward_functions.json");
  for (const auto& entry : golden["schema"]) {
    RewardConfig config = text_function("json_schema");
    config.schema.text = entry["schema"].dump();
    const double expected = entry["fits"].get<bool>() ? 1 : 0;
    EXPECT_EQ(RewardFunction(config)(entry["value"].dump()), expected) << entry.dump();
    EXPECT_EQ(RewardFunction(config)("```json\n" + entry["value"].dump(2) + "\n```\n"), expected);
    fitting += static_cast<size_t>(expected);
  }
  EXPECT_GT(fitting, 40u);
}

TEST(GoldenRewardFunctions, ScriptsAsPythonsRegex) {
  const auto golden = read_golden("reward_functions.json");
  for (const auto& entry : golden["measures"]["scripts"]) {
    RewardConfig config = text_function("language");
    config.scripts = entry["scripts"];
    EXPECT_DOUBLE_EQ(RewardFunction(config)(entry["text"].get<std::string>()),
                     entry["share"].get<double>())
        << entry.dump();
  }
}

TEST(GoldenRewardFunctions, RepetitionInEveryUnit) {
  const auto golden = read_golden("reward_functions.json");
  for (const auto& entry : golden["measures"]["repetition"]) {
    RewardConfig config = text_function("repetition");
    config.parameters = {{"n", entry["n"].get<double>()}};
    RewardSample sample{.token_ids = entry["units"]};
    std::string characters;
    for (const int64_t unit : entry["units"]) {
      sample.answer += "word" + std::to_string(unit) + " ";
      characters += "\xC3" + std::string(1, static_cast<char>(0xA0 + unit));  // à, á, …
    }
    EXPECT_DOUBLE_EQ(RewardFunction(config)(sample), entry["score"].get<double>()) << entry.dump();
    config.unit = TextUnit::tokens;
    EXPECT_DOUBLE_EQ(RewardFunction(config)(sample), entry["score"].get<double>()) << entry.dump();
    config.unit = TextUnit::characters;
    sample.answer = characters;
    EXPECT_DOUBLE_EQ(RewardFunction(config)(sample), entry["score"].get<double>()) << entry.dump();
  }
}

TEST(TextFunctions, LengthInEveryUnit) {
  RewardConfig config = text_function("length");
  config.parameters = {{"target", 3}};
  RewardSample sample{.answer = "日本 né", .token_ids = {5, 6, 7, 8, 9, 2}};
  EXPECT_EQ(RewardFunction(config)(sample), -1);  // two words
  config.unit = TextUnit::tokens;
  EXPECT_EQ(RewardFunction(config)(sample), -3);
  config.unit = TextUnit::characters;
  EXPECT_EQ(RewardFunction(config)(sample), -2);  // five code points
  config.parameters = {};
  config.column = "words";
  config.unit = {};
  EXPECT_EQ(RewardFunction(config)(with_row("a b c d", {{"words", 2}})), -2);
  EXPECT_THROW(RewardFunction(config).check_row(nullptr), FormatError);
  const nlohmann::ordered_json text = {{"words", "two"}};
  EXPECT_THROW(RewardFunction(config).check_row(&text), FormatError);
}

TEST(TextFunctions, Regex) {
  RewardConfig config = text_function("regex");
  config.pattern = R"(^<think>.*</think>\s*\d+$)";
  EXPECT_EQ(RewardFunction(config)("<think>so</think> 12"), 1);
  EXPECT_EQ(RewardFunction(config)("<think>so</think> twelve"), 0);
  config.pattern = R"((?i)(\w+) \1)";  // groups can be referred to
  EXPECT_EQ(RewardFunction(config)("Ünder ünder"), 1);
  EXPECT_EQ(RewardFunction(config)("one two"), 0);
  EXPECT_EQ(RewardFunction(config)("\xFF\xFF"), 0);
  config.pattern = "(a+)+$";
  const RewardFunction slow(config);
  EXPECT_THROW(slow(std::string(5000, 'a') + "b"), std::runtime_error);
  config.pattern.reset();
  config.column = "form";
  EXPECT_EQ(RewardFunction(config)(with_row("abc", {{"form", "b."}})), 1);
  const nlohmann::ordered_json broken = {{"form", "("}};
  EXPECT_THROW(RewardFunction(config).check_row(&broken), FormatError);
}

TEST(TextFunctions, WhatIsNoJson) {
  RewardConfig config = text_function("json_schema");
  config.schema.text = R"({"type": ["object", "array", "number"]})";
  const RewardFunction function(config);
  EXPECT_EQ(function(" {\"a\": 1} \n"), 1);
  for (const char* answer : {"", "{", "{\"a\": 1, \"a\": 2}", "{} {}", "here: {}", "```json\n{}",
                             "```python\n{}\n```", "{'a': 1}", "NaN", "01", "\xFF"}) {
    EXPECT_EQ(function(answer), 0) << answer;
  }
  EXPECT_EQ(function("12345678901234567890123"), 1);
  EXPECT_EQ(function(std::string(100000, '[')), 0);
  config.schema = {};
  config.column = "shape";
  EXPECT_EQ(RewardFunction(config)(with_row("3", {{"shape", {{"type", "integer"}}}})), 1);
  EXPECT_EQ(RewardFunction(config)(with_row("3", {{"shape", R"({"type": "string"})"}})), 0);
}

TEST(TextFunctions, Lexicon) {
  RewardConfig config = text_function("lexicon");
  config.lexicon = {{"Good", 2}, {"bad", -1}};
  config.words = {"fine"};
  const RewardFunction function(config);
  EXPECT_DOUBLE_EQ(function("good, GOOD or bad: fine"), (2 + 2 + 0 - 1 + 1) / 5.0);
  EXPECT_EQ(function("nothing"), 0);
  EXPECT_EQ(function(""), 0);
  RewardConfig column = text_function("lexicon");
  column.column = "wanted";
  EXPECT_EQ(RewardFunction(column)(with_row("red sky", {{"wanted", {"red", "blue"}}})), 0.5);
  EXPECT_EQ(RewardFunction(column)(with_row("red sky", {{"wanted", {{"sky", -3}}}})), -1.5);
}

TEST(TextFunctions, ProblemsOfTheirKeys) {
  RewardConfig regex = text_function("regex");
  EXPECT_THAT(reward_function_problems(regex), ElementsAre(HasSubstr("pattern: regex needs one")));
  regex.pattern = "a(";
  EXPECT_THAT(reward_function_problems(regex),
              ElementsAre(HasSubstr("pattern: the pattern `a(` is not understood at byte 2")));
  regex.column = "c";
  EXPECT_THAT(reward_function_problems(regex),
              ElementsAre(HasSubstr("column: stands beside pattern")));
  RewardConfig schema = text_function("json_schema");
  for (const auto& [text, problem] : std::map<std::string, std::string>{
           {R"({"oneOf": []})", "schema.oneOf: is not supported"},
           {R"({"properties": {"a": {"type": "text"}}})", "schema.properties.a.type: there is no"},
           {R"({"minItems": -1})", "schema.minItems: has to be a whole number"},
           {R"({"pattern": "["})", "schema.pattern: the pattern"},
           {R"({"items": 3})", "schema.items: has to be an object"}}) {
    schema.schema.text = text;
    EXPECT_THAT(reward_function_problems(schema), ElementsAre(HasSubstr(problem)));
  }
  RewardConfig language = text_function("language");
  language.scripts = {"Latn", "Klingon_"};
  EXPECT_THAT(reward_function_problems(language),
              ElementsAre(HasSubstr("Unicode has no script \"Klingon_\"")));
  language.scripts = {"Latin}"};
  EXPECT_THAT(reward_function_problems(language), ElementsAre(HasSubstr("is no script's name")));
  RewardConfig repetition = text_function("repetition");
  repetition.parameters = {{"n", 2.5}};
  EXPECT_THAT(reward_function_problems(repetition), ElementsAre(HasSubstr("a whole number")));
  RewardConfig lexicon = text_function("lexicon");
  EXPECT_THAT(reward_function_problems(lexicon), ElementsAre(HasSubstr("lexicon: lexicon needs")));
  lexicon.lexicon = {{"two words", 1}};
  EXPECT_THAT(reward_function_problems(lexicon),
              ElementsAre(HasSubstr("\"two words\" is not one word")));
  RewardConfig length = text_function("length");
  length.parameters = {{"target", 1}};
  length.column = "c";
  length.pattern = "x";
  EXPECT_THAT(reward_function_problems(length),
              ElementsAre(HasSubstr("column: stands beside parameters.target"),
                          HasSubstr("pattern: has no effect on length")));
}

}  // namespace
}  // namespace leash

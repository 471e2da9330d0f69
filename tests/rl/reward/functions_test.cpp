// Words, and the reward functions by their formulas.
#include "rl/reward/functions.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "models/errors.h"
#include "rl/statistics/words.h"

namespace leash {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(Words, AreRunsOfLettersDigitsAndMarks) {
  EXPECT_THAT(words_of("Hello, world! 3 x2 snake_case well-known"),
              ElementsAre("hello", "world", "3", "x2", "snake", "case", "well", "known"));
  EXPECT_THAT(words_of("don't ‘quote’ rock’n’roll 'tis dogs' a''b"),
              ElementsAre("don't", "quote", "rock'n'roll", "tis", "dogs", "a", "b"));
  EXPECT_THAT(words_of(""), IsEmpty());
  EXPECT_THAT(words_of(" \n\t…!?— 🙂"), IsEmpty());
}

TEST(Words, AreFoldedBeyondAscii) {
  EXPECT_EQ(words_of("STRASSE ÉCOLE ΣΊΣΥΦΟΣ ЁЖ"), words_of("straße école σίσυφος ёж"));
  EXPECT_EQ(words_of("cafe\u0301"), words_of("CAF\u00C9"));  // decomposed and composed
  EXPECT_THAT(words_of("日本語 हिन्दी"), ElementsAre("日本語", "हिन्दी"));
  EXPECT_EQ(words_of("I"), words_of("i"));
}

TEST(Words, InvalidUtf8Separates) {
  EXPECT_THAT(words_of("ab\xFFgood\xC3"), ElementsAre("ab", "good"));
  EXPECT_THAT(words_of(std::string_view("a\0b", 3)), ElementsAre("a", "b"));
  EXPECT_THAT(words_of("\xED\xA0\x80x\xF4\x90\x80\x80y\xC0\xAF"), ElementsAre("x", "y"));
}

TEST(Words, DistinctBigramShare) {
  EXPECT_EQ(distinct_bigram_share(words_of("a b c")), 1.0);
  EXPECT_EQ(distinct_bigram_share(words_of("a b a b a")), 0.5);  // ab ba ab ba
  EXPECT_EQ(distinct_bigram_share(words_of("no no no no no")), 0.25);
  EXPECT_EQ(distinct_bigram_share(words_of("one")), 0.0);
  EXPECT_EQ(distinct_bigram_share({}), 0.0);
}

RewardConfig function(const std::string& name, std::map<std::string, double> parameters = {},
                      std::vector<std::string> words = {}) {
  RewardConfig config;
  config.name = name;
  config.parameters = std::move(parameters);
  config.words = std::move(words);
  return config;
}

TEST(RewardFunctions, DistinctWordsCountsEachWordOnceUpToTheCap) {
  const RewardFunction reward(
      function("distinct_words", {{"cap", 3}}, {"Happy", "joy", "école", "sun", "SUN"}));
  EXPECT_EQ(reward(""), 0.0);
  EXPECT_EQ(reward("happy"), 1.0);
  EXPECT_EQ(reward("Happy, HAPPY happy!"), 1.0);
  EXPECT_EQ(reward("unhappy joyful sunny happy-go"), 1.0);  // whole words only
  EXPECT_EQ(reward("joy. ÉCOLE"), 2.0);
  EXPECT_EQ(reward("happy joy école sun"), 3.0);
  EXPECT_EQ(reward("the and of it to a in is so we go on and on and on"), 0.0);
  const RewardFunction uncapped(function("distinct_words", {}, {"a", "b", "c"}));
  EXPECT_EQ(uncapped("c b a a b c"), 3.0);
}

TEST(RewardFunctions, LengthIsTheDistanceFromTheTarget) {
  const RewardFunction reward(function("length", {{"target", 3}}));
  EXPECT_EQ(reward("one two three"), 0.0);
  EXPECT_EQ(reward(""), -3.0);
  EXPECT_EQ(reward("a b c d e"), -2.0);
  const RewardFunction wide(function("length", {{"target", 4}, {"tolerance", 1}}));
  EXPECT_EQ(wide("a b c"), 0.0);
  EXPECT_EQ(wide("a b c d e f g"), -2.0);
  EXPECT_EQ(wide("a b"), -1.0);
}

TEST(RewardFunctions, DistinctBigrams) {
  const RewardFunction reward(function("distinct_bigrams"));
  EXPECT_EQ(reward("A b a B a"), 0.5);
  EXPECT_EQ(reward("x"), 0.0);
}

TEST(RewardFunctions, NamesAreListed) {
  EXPECT_THAT(
      reward_function_names(),
      ElementsAre("distinct_words", "length", "distinct_bigrams", "numeric_answer", "exact_answer",
                  "regex", "json_schema", "repetition", "lexicon", "language"));
}

TEST(RewardFunctions, AllProblemsAreNamed) {
  EXPECT_THAT(reward_function_problems(RewardConfig{}), ElementsAre(HasSubstr("distinct_words")));
  EXPECT_THAT(reward_function_problems(function("distinct")),
              ElementsAre(HasSubstr("there is no function \"distinct\"")));
  EXPECT_THAT(
      reward_function_problems(function("distinct_words", {{"cap", 0}, {"kap", 2}}, {"two words"})),
      ElementsAre(HasSubstr("parameters.cap: has to be at least 1, not 0"),
                  HasSubstr("parameters.kap: distinct_words has no such parameter (it has: cap)"),
                  HasSubstr("words: \"two words\" is not one word")));
  EXPECT_THAT(reward_function_problems(function("distinct_words")),
              ElementsAre(HasSubstr("words: distinct_words needs a list")));
  EXPECT_THAT(reward_function_problems(function("length", {{"tolerance", -1}}, {"x"})),
              ElementsAre(HasSubstr("parameters.tolerance"),
                          HasSubstr("parameters.target: length needs it"),
                          HasSubstr("words: has no effect on length")));
  EXPECT_THAT(reward_function_problems(function("distinct_bigrams", {{"n", 2}})),
              ElementsAre(HasSubstr("it has: none")));
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    EXPECT_EQ(reward_function_problems(function("length", {{"target", bad}})).size(), 1u);
  }
  EXPECT_THROW(RewardFunction(function("length")), ConfigError);
}

}  // namespace
}  // namespace leash

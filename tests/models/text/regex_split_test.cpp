// Oniguruma's syntax on PCRE2: what is translated, what is refused, what splits how.
#include "models/text/regex_split.h"

#include <gtest/gtest.h>

#include "models/errors.h"
#include "models/tokenizer/gguf_pre_tokenizers.h"

namespace leash {
namespace {

std::vector<std::string> split(const Splitter& splitter, std::string_view text) {
  std::vector<std::string_view> parts;
  split_text(splitter, text, parts);
  return {parts.begin(), parts.end()};
}

using Parts = std::vector<std::string>;

size_t count_matches(const Regex& regex, std::string_view text) {
  Regex::Matches matches(regex, text);
  size_t count = 0;
  while (matches.next()) ++count;
  return count;
}

TEST(RegexSplit, Behaviors) {
  const Regex dash("-");
  EXPECT_EQ(split({dash, SplitBehavior::isolated}, "a--b-"), (Parts{"a", "-", "-", "b", "-"}));
  EXPECT_EQ(split({dash, SplitBehavior::removed}, "a--b-"), (Parts{"a", "b"}));
  EXPECT_EQ(split({dash, SplitBehavior::contiguous}, "a--b-"), (Parts{"a", "--", "b", "-"}));
  EXPECT_EQ(split({dash, SplitBehavior::merged_with_previous}, "a--b-"), (Parts{"a-", "-", "b-"}));
  EXPECT_EQ(split({dash, SplitBehavior::merged_with_next}, "a--b-"), (Parts{"a", "-", "-b", "-"}));
  EXPECT_EQ(split({dash, SplitBehavior::removed, true}, "a--b-"), (Parts{"-", "-", "-"}));
}

TEST(RegexSplit, EmptyMatchesCutAndEnd) {
  EXPECT_EQ(split({Regex("x*")}, "axxb"), (Parts{"a", "xx", "b"}));
  EXPECT_EQ(split({Regex("")},
                  "\xC3\xA9"
                  "b"),
            (Parts{"\xC3\xA9", "b"}));
  EXPECT_EQ(split({Regex("x*")}, ""), Parts{});
}

TEST(RegexSplit, WhiteSpaceIsUnicodesOwn) {
  // U+180E has not been white space since Unicode 6.3; U+0085 and U+3000 are.
  EXPECT_EQ(count_matches(Regex(R"(\s)"), "\xE1\xA0\x8E"), 0U);
  EXPECT_EQ(count_matches(Regex(R"([\s])"), "\xC2\x85\xE3\x80\x80"), 2U);
  EXPECT_EQ(count_matches(Regex(R"(\S)"), "\xE1\xA0\x8E "), 1U);
}

TEST(RegexSplit, WordsAndDigits) {
  EXPECT_EQ(split({Regex(R"(\w+)")}, "e\xCC\x81_1-"), (Parts{"e\xCC\x81_1", "-"}));
  EXPECT_EQ(split({Regex(R"([\w]+)")}, "e\xCC\x81_1-"), (Parts{"e\xCC\x81_1", "-"}));
  EXPECT_EQ(split({Regex(R"(\W+)")}, "a--b"), (Parts{"a", "--", "b"}));
  // Superscript two and a half are word characters outside a class only; superscript four (U+2074)
  // nowhere.
  const char* numbers = "\xC2\xB2\xC2\xBD\xE2\x81\xB4";
  EXPECT_EQ(count_matches(Regex(R"(\w)"), numbers), 2U);
  EXPECT_EQ(count_matches(Regex(R"(\W)"), numbers), 1U);
  EXPECT_EQ(count_matches(Regex(R"([\w])"), numbers), 0U);
  EXPECT_EQ(count_matches(Regex(R"(\d)"), "\xD9\xA3\xC2\xB2"), 1U);  // Arabic 3, not superscript 2
}

TEST(RegexSplit, BoundariesOfWords) {
  EXPECT_EQ(count_matches(Regex(R"(\b)"), "ab \xC3\xA9-"), 4U);
  EXPECT_EQ(count_matches(Regex(R"(\B)"), "ab"), 1U);
  // From the right, in threes.
  EXPECT_EQ(split({Regex(R"(\d{1,3}(?=(?:\d{3})*\b))")}, "12345 1"),
            (Parts{"12", "345", " ", "1"}));
}

// Many places are tried, and from each the whole text is looked at.
TEST(RegexSplit, ManyPlacesWithoutAMatchEndInAnError) {
  const std::string text(300'000, 'a');
  EXPECT_THROW(count_matches(Regex("a(?=[ab]*[cd])|a"), text), FormatError);
  EXPECT_THROW(count_matches(Regex("a(?=[ab]*[cd])"), text), FormatError);
}

TEST(RegexSplit, LiteralsAreNoExpressions) {
  EXPECT_EQ(split({Regex::literal("a.[b]\\*")}, "a.[b]\\*axb"), (Parts{"a.[b]\\*", "axb"}));
}

TEST(RegexSplit, WhatMeansSomethingElseIsRefused) {
  for (const char* pattern : {R"(\h)",
                              R"(\R)",
                              R"([\b])",
                              "(*UTF)a",
                              "(*LIMIT_MATCH=4000000000)a",
                              "a(*SKIP)b",
                              R"(\K)",
                              R"(\C)",
                              R"([[:alpha:]])",
                              "[a[b]]",
                              "[a&&b]",
                              "(?m:a)",
                              "(?<name>a)",
                              "(?x)a",
                              "a{1,2}+",
                              "(",
                              "[a",
                              "a{1",
                              "\\",
                              R"(\p{NoSuchScript})",
                              R"(\pL)",
                              R"([\W])",
                              R"(\u12)",
                              "(?"}) {
    EXPECT_THROW(Regex{pattern}, FormatError) << pattern;
  }
}

// Alternatives inside a repetition use up the just-in-time compiler's stack; the interpreter has to
// take over.
TEST(RegexSplit, LongMatches) {
  const std::string text(300'000, 'a');
  EXPECT_EQ(split({Regex("(?:a|b)+c|(?:a|b|cd)+")}, text).size(), 1U);
}

// The text has the x: without one PCRE2 sees at once that nothing can match, and no search begins.
TEST(RegexSplit, ExponentialPatternsEndInAnError) {
  EXPECT_THROW(count_matches(Regex("(a+)+(a+)+(a+)+$x"), std::string(200, 'a') + "bx"),
               FormatError);
}

TEST(PreTokenizer, UnknownNamesAreRefusedByName) {
  try {
    named_pre_tokenizer("hybriddna");
    FAIL();
  } catch (const FormatError& error) {
    EXPECT_NE(std::string(error.what()).find("'hybriddna'"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("smollm"), std::string::npos);
  }
}

}  // namespace
}  // namespace leash

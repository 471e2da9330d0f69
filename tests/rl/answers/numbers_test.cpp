// Numbers in texts, and the part of an answer that counts.
#include "rl/answers/numbers.h"

#include <gmock/gmock.h>

#include "rl/answers/extract.h"

namespace leash {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<double> values(std::string_view text, double percent = 100) {
  std::vector<double> found;
  for (const FoundNumber& number : numbers_in(text, {.percent = percent}).numbers) {
    found.push_back(number.value);
  }
  return found;
}

TEST(Numbers, PlainOnes) {
  EXPECT_THAT(values("7 apples and 12.5 pears, .5 left. 3."), ElementsAre(7, 12.5, 0.5, 3));
  EXPECT_THAT(values("no number"), IsEmpty());
  EXPECT_THAT(values(""), IsEmpty());
  EXPECT_THAT(values("5km, the 12th; 3D"), ElementsAre(5, 12, 3));
  EXPECT_THAT(values("答案是42。"), ElementsAre(42));
  EXPECT_THAT(values("007"), ElementsAre(7));
}

TEST(Numbers, Signs) {
  EXPECT_THAT(values("-3 and +4 and \u22125"), ElementsAre(-3, 4, -5));
  EXPECT_THAT(values("(-3), =-4, $-5$ and -$6.50, $-7"), ElementsAre(-3, -4, -5, -6.5, -7));
  EXPECT_THAT(values("5-3 and 10 - 4"), ElementsAre(5, 3, 10, 4));  // not a sign
  EXPECT_THAT(values("COVID-19, (2)-3, x-1"), ElementsAre(19, 2, 3, 1));
  EXPECT_THAT(values("pages 3--5"), ElementsAre(3, 5));
  EXPECT_THAT(values("-\u20AC5"), ElementsAre(-5));
}

TEST(Numbers, ThousandsSeparators) {
  EXPECT_THAT(values("1,234 and 12,345,678.25"), ElementsAre(1234, 12345678.25));
  EXPECT_THAT(values("$1{,}234 and 1,\\!000"), ElementsAre(1234, 1000));
  EXPECT_THAT(values("1,23 and 1,2345"), ElementsAre(1, 23, 1, 2345));  // no groups of three
  EXPECT_THAT(values("0,123 and 1234,567"), ElementsAre(0, 123, 1234, 567));
  EXPECT_THAT(values("2, 3"), ElementsAre(2, 3));
}

TEST(Numbers, PercentAndExponents) {
  EXPECT_THAT(values("50% and 7 % and 12.5\\%"), ElementsAre(0.5, 0.07, 0.125));
  EXPECT_THAT(values("50%", 1), ElementsAre(50));
  EXPECT_THAT(values("1e5, 2.5E-3, 3e and 4ex"), ElementsAre(1e5, 2.5e-3, 3, 4));
  EXPECT_THAT(values("3 × 10^5, 2*10^{-3}, 1.5 \\times 10^{2}, 6·10, 4 x 10⁶ and 10^4"),
              ElementsAre(3e5, 2e-3, 150, 6, 10, 4e6, 1e4));
  EXPECT_THAT(values("1e999 and 1e-999"), ElementsAre(0));
}

TEST(Numbers, Fractions) {
  EXPECT_THAT(values("3/4, -1/2 and 6 / 8"), ElementsAre(0.75, -0.5, 0.75));
  EXPECT_THAT(values("\\frac{3}{4} \\dfrac{-1}{2} -\\tfrac12"), ElementsAre(0.75, -0.5, -0.5));
  EXPECT_THAT(values("1 1/2, 2\\frac{1}{4} and -1 1/2"), ElementsAre(1.5, 2.25, -1.5));
  EXPECT_THAT(values("1 3/2"), ElementsAre(1, 1.5));  // an improper one stands alone
  EXPECT_THAT(values("1/0"), IsEmpty());
  EXPECT_THAT(values("\\frac{x}{2} and \\frac{1+1}{2}"), IsEmpty());
  EXPECT_THAT(values("\\frac{\\frac{1}{2}}{2}"), ElementsAre(0.25));
}

TEST(Numbers, WhatIsNone) {
  EXPECT_THAT(values("x2, H2O, a_1, v1.5"), IsEmpty());
  EXPECT_THAT(values("1.2.3 and 3/4/2024"), IsEmpty());
  EXPECT_THAT(values("2^3, 5^{10}, 2\\sqrt{3}, 2 \\pi, 2π"), IsEmpty());
  EXPECT_THAT(values("25 cm^2, 3 m², 90^\\circ"), ElementsAre(25, 3, 90));
  EXPECT_FALSE(only_number("2\\sqrt{3}"));
  EXPECT_FALSE(only_number("1 or 2"));
  EXPECT_EQ(only_number("25 \\text{ cm}^2")->value, 25);
  EXPECT_EQ(only_number("x = 5")->value, 5);
  EXPECT_FALSE(only_number("x^2+1"));
  EXPECT_THAT(values(std::string(3000, '{') + "1" + std::string(3000, '}')), ElementsAre(1));
}

TEST(Numbers, AreEqualAsTheyAreWritten) {
  const auto equal = [](const char* a, const char* b, double tolerance = 0) {
    return equal_numbers(*only_number(a), *only_number(b), tolerance);
  };
  EXPECT_TRUE(equal("1,000", "1000"));
  EXPECT_TRUE(equal("5", "5.0"));
  EXPECT_TRUE(equal("3/4", "0.75"));
  EXPECT_TRUE(equal("1/3", "2/6"));
  EXPECT_TRUE(equal("50%", "0.5"));
  EXPECT_TRUE(equal("-0", "0"));
  EXPECT_TRUE(equal("0.1", "1/10"));
  EXPECT_FALSE(equal("1/3", "0.3333"));
  EXPECT_TRUE(equal("1/3", "0.3333", 1e-4));
  EXPECT_TRUE(equal("1.1", "1", 0.1));
  EXPECT_FALSE(equal("1.2", "1", 0.1));
  EXPECT_FALSE(equal("9007199254740993", "9007199254740992"));  // one double
  EXPECT_FALSE(equal("5", "-5"));
}

TEST(Extract, TheLastBox) {
  EXPECT_EQ(last_boxed("so \\boxed{5}."), "5");
  EXPECT_EQ(last_boxed("\\boxed{1} then \\boxed{\\frac{1}{2}}"), "\\frac{1}{2}");
  EXPECT_EQ(last_boxed("\\boxed{a{b{c}d}e} f}"), "a{b{c}d}e");
  EXPECT_EQ(last_boxed("\\boxed{\\{1, 2\\}}"), "\\{1, 2\\}");
  EXPECT_EQ(last_boxed("\\boxed 7 and"), "7");
  EXPECT_EQ(last_boxed("\\fbox{8}"), "8");
  EXPECT_EQ(last_boxed("\\boxed{\\boxed{9}}"), "9");
  EXPECT_EQ(last_boxed("\\boxed{}"), "");
  EXPECT_FALSE(last_boxed("\\boxed{1} and \\boxed{2"));  // cut off
  EXPECT_FALSE(last_boxed("none"));
  EXPECT_FALSE(last_boxed("\\boxed"));
}

TEST(Extract, TextsThatAreComparable) {
  EXPECT_EQ(comparable_text("  a \n\t b ", false), "a b");
  EXPECT_EQ(comparable_text("cafe\u0301", false), comparable_text("caf\u00E9", false));
  EXPECT_NE(comparable_text("A", false), comparable_text("a", false));
  EXPECT_EQ(comparable_text("STRASSE", true), comparable_text("straße", true));
  EXPECT_EQ(comparable_text("\xFF", false), "\uFFFD");
  EXPECT_EQ(comparable_formula("\\dfrac{1}{2}\\, \\text{ m }", false), "\\frac{1}{2}m");
  EXPECT_EQ(comparable_formula("\\left( 1, 2 \\right)", false), "(1,2)");
}

}  // namespace
}  // namespace leash

#include "configs/scalars.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "configs/suggest.h"
#include "configs/yaml_source.h"

namespace leash {
namespace {

TEST(Scalars, IntegersAreWholeAndFit) {
  EXPECT_EQ(parse_integer("0"), 0);
  EXPECT_EQ(parse_integer("-7"), -7);
  EXPECT_EQ(parse_integer("+7"), 7);
  EXPECT_EQ(parse_integer("1_000_000"), 1000000);
  EXPECT_EQ(parse_integer("9223372036854775807"), INT64_MAX);
  EXPECT_EQ(parse_integer("-9223372036854775808"), INT64_MIN);
  for (const char* text : {"", "-", "+", "+-7", "1.0", "1e3", "0x10", "9223372036854775808", "1__0",
                           "_1", "1_", " 1", "1 ", "one", "true"}) {
    EXPECT_EQ(parse_integer(text), std::nullopt) << text;
  }
}

TEST(Scalars, NumbersAreFinite) {
  EXPECT_EQ(parse_number("0.1"), 0.1);
  EXPECT_EQ(parse_number("1e-5"), 1e-5);
  EXPECT_EQ(parse_number("1.0e-4"), 1e-4);
  EXPECT_EQ(parse_number("-3"), -3.0);
  EXPECT_EQ(parse_number("+2.5"), 2.5);
  EXPECT_EQ(parse_number(".5"), 0.5);
  for (const char* text : {"", "nan", ".nan", "inf", "-inf", ".inf", "1e999", "0,5", "1 ", "1e",
                           "e5", "0x1p3", "infinity"}) {
    EXPECT_EQ(parse_number(text), std::nullopt) << text;
  }
}

TEST(Scalars, BooleansAreTrueAndFalse) {
  EXPECT_EQ(parse_boolean("true"), true);
  EXPECT_EQ(parse_boolean("false"), false);
  for (const char* text : {"True", "yes", "on", "1", "0", "", "null"}) {
    EXPECT_EQ(parse_boolean(text), std::nullopt) << text;
  }
}

TEST(Scalars, NumbersReadBackBitForBit) {
  uint64_t state = 12345;
  const auto check = [](double value) {
    const auto back = parse_number(number_text(value));
    ASSERT_TRUE(back.has_value()) << number_text(value);
    EXPECT_EQ(std::memcmp(&*back, &value, sizeof(value)), 0) << number_text(value);
  };
  for (const double value :
       {0.0, -0.0, 0.1, 1e-5, 3e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1.0 / 3.0,
        1e22, 1e23, 123456789012345680.0, 5e-324, -1e-300}) {
    check(value);
  }
  for (int i = 0; i < 20000; ++i) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    double value = 0;
    std::memcpy(&value, &state, sizeof(value));
    if (std::isfinite(value)) check(value);
  }
}

TEST(Scalars, TextsReadBackFromYaml) {
  const std::string long_line(500, 'x');
  for (const std::string& text : {std::string(),
                                  std::string("plain"),
                                  std::string("a b"),
                                  std::string("true"),
                                  std::string("null"),
                                  std::string("~"),
                                  std::string("1"),
                                  std::string("1e5"),
                                  std::string("nan"),
                                  std::string("-"),
                                  std::string("- a"),
                                  std::string("a: b"),
                                  std::string("a #b"),
                                  std::string("#"),
                                  std::string("'"),
                                  std::string("\""),
                                  std::string("\\"),
                                  std::string("\n"),
                                  std::string("a\nb\n"),
                                  std::string("\t"),
                                  std::string(" x "),
                                  std::string("\x01\x1f\x7f"),
                                  std::string("\r\n"),
                                  std::string("é 你 😀"),
                                  std::string("[a]"),
                                  std::string("{a}"),
                                  std::string("*a"),
                                  std::string("&a"),
                                  std::string("!a"),
                                  std::string("%a"),
                                  std::string("@a"),
                                  std::string("`a"),
                                  std::string("..."),
                                  std::string("---"),
                                  std::string("?"),
                                  std::string("<<"),
                                  std::string("\u00a0\u0085\u2028"),
                                  std::string("/tmp/a b/c.yaml"),
                                  std::string("=")}) {
    Problems problems;
    for (const std::string& yaml : {"k: " + yaml_string(text), "k: [" + yaml_string(text) + "]",
                                    "{" + yaml_string(text) + ": " + yaml_string(text) + "}"}) {
      const ConfigValue root = parse_yaml(yaml, {.source = "f"}, problems);
      ASSERT_TRUE(problems.empty()) << yaml << problems.lines()[0];
      ASSERT_EQ(root.fields.size(), 1u) << yaml;
      const ConfigValue& value = root.fields[0].second;
      const ConfigValue& scalar = value.items.empty() ? value : value.items[0];
      EXPECT_EQ(scalar.kind, ConfigValue::Kind::scalar) << yaml;
      EXPECT_EQ(scalar.scalar, text) << yaml;
    }
  }
}

TEST(Scalars, RangesSayWhatIsAllowed) {
  EXPECT_EQ(range_problem(1, at_least(1)), std::nullopt);
  EXPECT_EQ(range_problem(0, at_least(1)), "has to be at least 1, not 0");
  EXPECT_EQ(range_problem(0, above(0)), "has to be above 0, not 0");
  EXPECT_EQ(range_problem(1, within(0, 1)), std::nullopt);
  EXPECT_EQ(range_problem(1.5, within(0, 1)), "has to be at least 0 and at most 1, not 1.5");
  EXPECT_EQ(range_problem(1, from_below(0, 1)), "has to be at least 0 and below 1, not 1");
  EXPECT_EQ(range_problem(std::nan(""), within(0, 1)).has_value(), true);
  EXPECT_EQ(range_text(above(0)), "> 0");
  EXPECT_EQ(range_text(within(0, 1)), "≥ 0 … ≤ 1");
  EXPECT_EQ(range_text({}), "");
}

TEST(Suggest, FindsSlipsAndNothingElse) {
  const std::vector<std::string> known = {"learning_rate", "gamma", "lam", "kl_coef", "tokenize"};
  EXPECT_EQ(nearest("learning_rat", known), "learning_rate");
  EXPECT_EQ(nearest("gama", known), "gamma");
  EXPECT_EQ(nearest("kl_ceof", known), "kl_coef");
  EXPECT_EQ(nearest("tok", known), "tokenize");
  EXPECT_EQ(nearest("entirely", known), std::nullopt);
  EXPECT_EQ(nearest("", known), std::nullopt);
  EXPECT_EQ(nearest("x", known), std::nullopt);
  EXPECT_EQ(nearest(std::string(100000, 'a'), known), std::nullopt);
  EXPECT_EQ(did_you_mean("gama", known), " (did you mean `gamma`?)");
  EXPECT_EQ(did_you_mean("entirely", known), "");
}

}  // namespace
}  // namespace leash

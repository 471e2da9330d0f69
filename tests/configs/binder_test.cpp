#include "configs/binder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "configs/yaml_source.h"
#include "configs/yaml_writer.h"
#include "tests/configs/recipes.h"

namespace leash::testing {

enum class Colour { red, green };

struct Inner {
  int64_t count = 3;
  bool operator==(const Inner&) const = default;
};
template <class Config, class Visitor>
requires Describes<Config, Inner>
void visit_fields(Config& c, Visitor&& visit) { visit("count", c.count, "how many", at_least(1)); }

struct Outer {
  bool flag = false;
  int64_t whole = 1;
  double number = 0.5;
  std::string text = "t";
  std::filesystem::path file = {};
  ModelPath model = "smollm2";
  Colour colour = Colour::red;
  StringOrList names = "all";
  std::optional<double> maybe = {};
  std::optional<ModelPath> maybe_model = {};
  std::vector<int64_t> list = {};
  std::map<std::string, double> by_name = {};
  Inner inner = {};
  std::vector<Inner> inners = {};
  bool operator==(const Outer&) const = default;
};
template <class Config, class Visitor>
requires Describes<Config, Outer>
void visit_fields(Config& c, Visitor&& visit) {
  visit("flag", c.flag, "");
  visit("whole", c.whole, "", within(0, 10));
  visit("number", c.number, "", above(0));
  visit("text", c.text, "");
  visit("file", c.file, "");
  visit("model", c.model, "");
  visit("colour", c.colour, "");
  visit("names", c.names, "");
  visit("maybe", c.maybe, "", within(0, 1));
  visit("maybe_model", c.maybe_model, "");
  visit("list", c.list, "", at_least(0));
  visit("by_name", c.by_name, "", at_least(0));
  visit("inner", c.inner, "");
  visit("inners", c.inners, "");
}

}  // namespace leash::testing

template <>
struct leash::EnumNames<leash::testing::Colour> {
  static constexpr std::pair<leash::testing::Colour, std::string_view> values[] = {
      {leash::testing::Colour::red, "red"}, {leash::testing::Colour::green, "green"}};
};

namespace leash::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Bound {
  Outer value;
  Written written;
  Lines problems;
};

Bound bind(const std::string& yaml) {
  Problems problems;
  Bound bound;
  const ConfigValue root = parse_yaml(yaml, {.source = "f", .folder = "/f"}, problems);
  read_config(root, bound.value, problems, bound.written);
  bound.problems = problems.lines();
  return bound;
}

TEST(Binder, ReadsEveryKindOfField) {
  const Bound bound = bind(R"(
flag: true
whole: 7
number: 1e-5
text: 12
file: sub/../a.txt
model: other/model
colour: green
names: [a, b]
maybe: 0.25
maybe_model: smollm2
list: [1, 2]
by_name: {x: 1, y.z: 2}
inner: {count: 4}
inners: [{count: 5}, {}]
)");
  EXPECT_THAT(bound.problems, IsEmpty());
  const Outer& v = bound.value;
  EXPECT_TRUE(v.flag);
  EXPECT_EQ(v.whole, 7);
  EXPECT_EQ(v.number, 1e-5);
  EXPECT_EQ(v.text, "12");
  EXPECT_EQ(v.file, "/f/a.txt");
  EXPECT_EQ(v.model.name, "/f/other/model");
  EXPECT_EQ(v.colour, Colour::green);
  EXPECT_EQ(v.names, StringOrList(Lines{"a", "b"}));
  EXPECT_EQ(v.maybe, 0.25);
  EXPECT_EQ(v.maybe_model->name, "smollm2");  // a name, not a path
  EXPECT_THAT(v.list, ElementsAre(1, 2));
  EXPECT_EQ(v.by_name, (std::map<std::string, double>{{"x", 1}, {"y.z", 2}}));
  EXPECT_EQ(v.inner.count, 4);
  EXPECT_EQ(v.inners, (std::vector<Inner>{{5}, {3}}));
  EXPECT_TRUE(bound.written.contains("inners[0].count"));
  EXPECT_FALSE(bound.written.contains("inners[1].count"));
  EXPECT_EQ(bound.written.at("inners[0].count").line, 15);
}

TEST(Binder, WhatIsNotWrittenKeepsItsDefault) {
  EXPECT_EQ(bind("{}").value, Outer{});
  EXPECT_EQ(bind("inner:\ninners: []\nmaybe: null\n").value, Outer{});
}

TEST(Binder, WrongTypesAreAllReportedWithTheirLines) {
  EXPECT_THAT(
      bind(R"(flag: yes
whole: 1.5
number: much
text: [a]
file: {a: b}
model: null
colour: greem
names: {a: b}
maybe: [0.5]
list: 3
by_name: [1]
inner: 5
inners: {count: 1})")
          .problems,
      ElementsAre(
          "f:1: flag: has to be true or false, not `yes`",
          "f:2: whole: has to be a whole number, not `1.5`",
          "f:3: number: has to be a number, not `much`", "f:4: text: has to be a text, not a list",
          "f:5: file: has to be a path, not a map", "f:6: model: has to be a model, not null",
          "f:7: colour: has to be one of red, green, not `greem` (did you mean "
          "`green`?)",
          "f:8: names: has to be a text or a list, not a map",
          "f:9: maybe: has to be a number, not a list", "f:10: list: has to be a list, not `3`",
          "f:11: by_name: has to be a map, not a list",
          "f:12: inner: has to be a map of settings, not `5`",
          "f:13: inners: has to be a list, not a map"));
}

TEST(Binder, AListWithoutBracketsIsShownWithThem) {
  EXPECT_THAT(bind("list: 1,2").problems,
              ElementsAre("f:1: list: has to be a list, not `1,2`; as a list it is [1,2]"));
}

TEST(Binder, RangesHoldInsideListsMapsAndOptionals) {
  EXPECT_THAT(bind("whole: 11\nnumber: 0\nmaybe: 2\nlist: [1, -1]\nby_name: {x: -2}\n"
                   "inners:\n  - count: 1\n  - count: 0\n")
                  .problems,
              ElementsAre("f:1: whole: has to be at least 0 and at most 10, not 11",
                          "f:2: number: has to be above 0, not 0",
                          "f:3: maybe: has to be at least 0 and at most 1, not 2",
                          "f:4: list[1]: has to be at least 0, not -1",
                          "f:5: by_name.x: has to be at least 0, not -2",
                          "f:8: inners[1].count: has to be at least 1, not 0"));
}

// Products of two settings have to fit into 64 bits.
TEST(Binder, WholeNumbersHaveAnUpperBound) {
  EXPECT_THAT(bind("inner:\n  count: 9223372036854775807\nlist: [1000000001]\n").problems,
              ::testing::UnorderedElementsAre(
                  "f:2: inner.count: has to be at least 1 and at most 1000000000, not "
                  "9.223372036854776e+18",
                  "f:3: list[0]: has to be at least 0 and at most 1000000000, not 1000000001"));
  EXPECT_THAT(bind("list: [1000000000]\n").problems, ::testing::IsEmpty());
  EXPECT_THAT(
      bind("whole: 99999999999999999999\nnumber: 1e400\nmaybe: 1e-400\n").problems,
      ElementsAre("f:1: whole: `99999999999999999999` is beyond what a whole number can hold",
                  "f:2: number: `1e400` is beyond what a number can hold (2.2e-308 to "
                  "1.8e308)",
                  "f:3: maybe: `1e-400` is beyond what a number can hold (2.2e-308 to "
                  "1.8e308)"));
}

TEST(Binder, UnknownKeysAreReportedWhereTheyStand) {
  EXPECT_THAT(bind("colr: red\ninner:\n  cuont: 1\ninners:\n  - xyzzyx: 1\nnothing_alike:\n  a: 1")
                  .problems,
              ElementsAre("f:3: inner.cuont: there is no such setting (did you mean `count`?)",
                          "f:5: inners[0].xyzzyx: there is no such setting",
                          "f:1: colr: there is no such setting (did you mean `colour`?)",
                          "f:6: nothing_alike: there is no such setting"));
}

TEST(Binder, WhatTheWriterWritesReadsBackEqual) {
  const Outer value{.flag = true,
                    .whole = 9,
                    .number = 0.1,
                    .text = "a: \"b\"\n",
                    .file = "/x/y z",
                    .model = "/m",
                    .colour = Colour::green,
                    .names = Lines{"q", "[", "true", ""},
                    .maybe = 1.0 / 3,
                    .maybe_model = "smollm2",
                    .list = {1, 1000000000},
                    .by_name = {{"a.*b", 0.1}, {"", 2}},
                    .inner = {7},
                    .inners = {{1}, {2}}};
  YamlWriter writer;
  visit_fields(value, writer);
  const Bound bound = bind(writer.text());
  EXPECT_THAT(bound.problems, IsEmpty()) << writer.text();
  EXPECT_TRUE(bound.value == value) << writer.text();
  YamlWriter again;
  visit_fields(bound.value, again);
  EXPECT_EQ(again.text(), writer.text());
}

TEST(Binder, AnEmptyPathIsNone) {
  EXPECT_THAT(
      bind("file: ''\nmodel: ''\nmaybe_model: \"\"\n").problems,
      ElementsAre("f:1: file: has to be a path, not ``", "f:2: model: has to be a model, not ``",
                  "f:3: maybe_model: has to be a model, not ``"));
}

}  // namespace
}  // namespace leash::testing

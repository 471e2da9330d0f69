#include "configs/yaml_source.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <string_view>

#include "tests/configs/recipes.h"
#include "tests/support/files.h"

namespace leash::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Parsed {
  ConfigValue root;
  Lines problems;
};

Parsed read_yaml(const std::string& text) {
  Problems problems;
  ConfigValue root = parse_yaml(text, {.source = "f.yaml", .folder = "/f"}, problems);
  return {root, problems.lines()};
}

TEST(YamlSource, KnowsKindsOrderAndPlaces) {
  const Parsed parsed = read_yaml("b: 1\na:\n  - x\n  - {y: 'null'}\nn: null\nm: ~\n");
  EXPECT_THAT(parsed.problems, IsEmpty());
  ASSERT_EQ(parsed.root.fields.size(), 4u);
  EXPECT_EQ(parsed.root.fields[0].first, "b");
  EXPECT_EQ(parsed.root.fields[0].second.place.text(), "f.yaml:1");
  const ConfigValue& list = parsed.root.fields[1].second;
  EXPECT_EQ(list.kind, ConfigValue::Kind::list);
  EXPECT_EQ(list.place.line, 2);  // of its key, not of its first entry
  EXPECT_EQ(list.items[1].place.line, 4);
  EXPECT_EQ(list.items[1].find("y")->kind, ConfigValue::Kind::scalar);  // quoted
  EXPECT_EQ(list.items[1].find("y")->scalar, "null");
  EXPECT_EQ(parsed.root.find("n")->kind, ConfigValue::Kind::null);
  EXPECT_EQ(parsed.root.find("m")->kind, ConfigValue::Kind::null);
  EXPECT_EQ(parsed.root.find("nothing"), nullptr);
}

TEST(YamlSource, WindowsLineEndsAndAByteOrderMarkMakeNoDifference) {
  const Parsed parsed = read_yaml(
      "\xEF\xBB\xBF"
      "a: 1\r\nb: text\r\n");
  EXPECT_THAT(parsed.problems, IsEmpty());
  EXPECT_EQ(parsed.root.find("a")->scalar, "1");
  EXPECT_EQ(parsed.root.find("b")->scalar, "text");
}

TEST(YamlSource, RefusesAnchorsAliasesAndTagsEverywhere) {
  const std::string anchors = "anchors and aliases are not supported: write the value out";
  EXPECT_THAT(read_yaml("a: &x 1\nb: *x\n").problems,
              ElementsAre("f.yaml:1: " + anchors, "f.yaml:2: " + anchors));
  EXPECT_THAT(read_yaml("a: &x {c: 1}\n").problems, ElementsAre("f.yaml:1: " + anchors));
  EXPECT_THAT(read_yaml("a: &x [1]\n").problems, ElementsAre("f.yaml:1: " + anchors));
  EXPECT_THAT(read_yaml("a: !!str 1\n").problems, ElementsAre(HasSubstr("f.yaml:1: the tag ")));
  EXPECT_THAT(read_yaml("a: !mine {c: 1}\n").problems,
              ElementsAre("f.yaml:1: the tag !mine is not supported"));
  EXPECT_THAT(read_yaml("a: !mine [1]\n").problems,
              ElementsAre("f.yaml:1: the tag !mine is not supported"));
}

// "A billion laughs": aliases of aliases. Nothing may be expanded.
TEST(YamlSource, AliasesOfAliasesCostNothing) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 9; ++j) bomb += (j > 0 ? ", *a" : "*a") + std::to_string(i - 1);
    bomb += "]\n";
  }
  EXPECT_EQ(read_yaml(bomb).problems.size(), 12u + 11u * 9u);
}

TEST(YamlSource, AKeyThatStandsTwiceIsNamedWithItsSection) {
  const Parsed parsed = read_yaml("ppo:\n  gamma: 1\n  gamma: 0.5\nr:\n  - {k: 1, k: 2}\n");
  EXPECT_THAT(parsed.problems,
              ElementsAre("f.yaml:3: ppo.gamma: stands twice", "f.yaml:5: r[0].k: stands twice"));
  EXPECT_EQ(parsed.root.find("ppo")->find("gamma")->scalar, "1");
}

TEST(YamlSource, KeysAreScalars) {
  EXPECT_THAT(read_yaml("? [a, b]\n: 1\n").problems,
              ElementsAre("f.yaml:1: a list cannot be a key"));
  EXPECT_THAT(read_yaml("? {a: b}\n: 1\n").problems,
              ElementsAre("f.yaml:1: a map cannot be a key"));
  EXPECT_THAT(read_yaml("~: 1\n").problems, ElementsAre("f.yaml:1: null cannot be a key"));
}

TEST(YamlSource, SyntaxErrorsNameTheirLine) {
  for (const char* text : {"a: 1\nb: [1, 2\nc: 3\n", "a: 1\n\t- b\n", "a: 1\nb: \"open\n",
                           "a: 1\n  b: 2\n", "a: 'open\nb: 1\n\n", "a: b: c\n", "a: @x\n"}) {
    const Parsed parsed = read_yaml(text);
    ASSERT_EQ(parsed.problems.size(), 1u) << text;
    EXPECT_THAT(parsed.problems[0],
                ::testing::MatchesRegex("f\\.yaml:[1-4]: is not valid YAML: .+"))
        << text;
    EXPECT_EQ(parsed.root.kind, ConfigValue::Kind::refused);
  }
}

TEST(YamlSource, SeveralDocumentsAreOneTooMany) {
  EXPECT_THAT(read_yaml("a: 1\n---\nb: 2\n").problems,
              ElementsAre("f.yaml: holds several documents; one is expected"));
  EXPECT_THAT(read_yaml("---\na: 1\n...\n").problems, IsEmpty());
}

TEST(YamlSource, DeepNestingIsRefusedWithoutRecursion) {
  for (const int depth : {33, 400, 200000}) {
    const Parsed parsed = read_yaml("a: " + std::string(static_cast<size_t>(depth), '['));
    ASSERT_EQ(parsed.problems.size(), 1u) << depth;
    EXPECT_THAT(parsed.problems[0], HasSubstr("is not valid YAML")) << depth;
  }
  EXPECT_THAT(read_yaml("a: " + std::string(30, '[') + std::string(30, ']')).problems, IsEmpty());
}

TEST(YamlSource, EmptyTextIsNull) {
  for (const char* text : {"", "# nothing\n", "---\n", "\n\n"}) {
    const Parsed parsed = read_yaml(text);
    EXPECT_THAT(parsed.problems, IsEmpty()) << text;
    EXPECT_EQ(parsed.root.kind, ConfigValue::Kind::null) << text;
  }
}

TEST(YamlSource, BytesThatAreNoTextDoNotCrash) {
  for (int seed = 0; seed < 300; ++seed) {
    std::string noise;
    uint32_t state = static_cast<uint32_t>(seed) * 2654435761u + 1;
    for (int i = 0; i < 60; ++i) {
      state = state * 1664525u + 1013904223u;
      constexpr std::string_view kAlphabet("abc:-[]{}&*!|>'\"%#?,\n \t\x01\xff\xc3\xa9\0", 28);
      noise += kAlphabet[(state >> 16) % kAlphabet.size()];
    }
    read_yaml(noise);
  }
}

// Each key is compared with all before it, and each unknown one with all that are known.
TEST(YamlSource, ManyKeysAreRefusedInShortTime) {
  std::string text = kLeast + "ppo:\n";
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 3990; ++i) text += fmt::format("  total_episode_{}: 1\n", i);
  EXPECT_EQ(problems_of(text).size(), 3990u);
  for (int i = 0; i < 40000; ++i) text += fmt::format("  k{}: 1\n", i);
  EXPECT_THAT(problems_of(text),
              ::testing::ElementsAre("r.yaml: is not valid YAML: more than 4000 keys"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(4));
}

TEST(YamlFile, FilesThatAreNoRecipesAreNamed) {
  const ScratchFolder scratch;
  Problems problems;
  const auto message = [&](const std::filesystem::path& file) -> std::string {
    try {
      read_yaml_file(file, problems);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(message(scratch / "none.yaml"), HasSubstr("none.yaml: there is no such recipe"));
  EXPECT_THAT(message(scratch.path()), HasSubstr("is no regular file"));
  write_text(scratch / "huge.yaml", "a: " + std::string((1 << 20) + 1, 'x'));
  EXPECT_THAT(message(scratch / "huge.yaml"), HasSubstr("huge.yaml: is too large for a recipe"));
  write_text(scratch / "empty.yaml", "");
  EXPECT_EQ(read_yaml_file(scratch / "empty.yaml", problems).kind, ConfigValue::Kind::null);
  EXPECT_TRUE(problems.empty());
}

}  // namespace
}  // namespace leash::testing

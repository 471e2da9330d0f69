// The mutants of tests/mutants fit the sources: every edit finds its text once, and every filter
// names a test. This needs no build of a mutant, as tests/mutants/run does.
#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/support/files.h"

namespace leash::testing {
namespace {

namespace fs = std::filesystem;

// The full names of the tests of each binary. Those of a parametrised test end with "/", where
// the parameter's name follows.
using TestNames = std::map<std::string, std::vector<std::string>>;
using Problems = std::vector<std::string>;

std::string trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \n";
  const size_t begin = std::min(text.find_first_not_of(kSpace), text.size());
  return std::string(text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin));
}

// The first two arguments of each use of a macro that begins a line.
std::vector<std::pair<std::string, std::string>> uses(std::string_view text,
                                                      const std::string& macro) {
  const std::string start = "\n" + macro + "(";
  std::vector<std::pair<std::string, std::string>> found;
  for (size_t at = text.find(start); at != text.npos; at = text.find(start, at)) {
    at += start.size();
    const size_t comma = text.find(',', at);
    const size_t end = std::min(text.find_first_of(",)", comma + 1), text.size());
    found.emplace_back(trimmed(text.substr(at, comma - at)),
                       trimmed(text.substr(comma + 1, end - comma - 1)));
  }
  return found;
}

void add_tests(std::string_view text, std::vector<std::string>& names) {
  for (const std::string macro : {"TEST", "TEST_F"}) {
    for (const auto& [suite, test] : uses(text, macro)) names.push_back(suite + "." + test);
  }
  const auto tests = uses(text, "TEST_P");
  for (const auto& [prefix, instantiated] : uses(text, "INSTANTIATE_TEST_SUITE_P")) {
    for (const auto& [suite, test] : tests) {
      if (suite != instantiated) continue;
      names.push_back((prefix.empty() ? "" : prefix + "/") + suite + "." + test + "/");
    }
  }
}

// tests/CMakeLists.txt makes one binary of each folder; the files beside it are in
// experiments_test.
TestNames test_names(const fs::path& root) {
  TestNames names;
  for (const auto& entry : fs::recursive_directory_iterator(root / "tests")) {
    if (!entry.path().filename().string().ends_with("_test.cpp")) continue;
    const fs::path file = fs::relative(entry.path(), root / "tests");
    const std::string folder = file.has_parent_path() ? file.begin()->string() : "experiments";
    add_tests("\n" + read_text(entry.path()), names[folder + "_test"]);
  }
  return names;
}

// GoogleTest's wildcards: '*' is any text, '?' any character.
bool matches(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return name.empty();
  if (pattern[0] == '*') {
    return matches(pattern.substr(1), name) || (!name.empty() && matches(pattern, name.substr(1)));
  }
  return !name.empty() && (pattern[0] == '?' || pattern[0] == name[0]) &&
         matches(pattern.substr(1), name.substr(1));
}

// The text does not say what parameters are called, so a pattern counts up to their name.
std::string without_parameter(const std::string& pattern) {
  const size_t dot = pattern.find('.');
  const size_t slash = dot == pattern.npos ? dot : pattern.find('/', dot);
  return slash == pattern.npos ? pattern : pattern.substr(0, slash + 1);
}

// A filter is patterns with ':' between them. Those after '-' take tests away: they may name none.
Problems problems_of_filter(const std::string& filter, const std::vector<std::string>& names) {
  Problems problems;
  const std::string wanted = filter.substr(0, filter.find('-'));
  for (size_t begin = 0; begin <= wanted.size();) {
    const size_t end = std::min(wanted.find(':', begin), wanted.size());
    const std::string pattern = wanted.substr(begin, end - begin);
    const bool known = std::ranges::any_of(
        names, [&](const auto& name) { return matches(without_parameter(pattern), name); });
    if (!known) problems.push_back("no test is called " + pattern);
    begin = end + 1;
  }
  return problems;
}

// Sorted, so that a field that is missing, unknown or there twice makes a difference.
bool has_fields(const YAML::Node& node, std::vector<std::string> expected) {
  if (!node.IsMap()) return false;
  std::vector<std::string> fields;
  for (const auto& field : node) fields.push_back(field.first.as<std::string>());
  std::ranges::sort(fields);
  std::ranges::sort(expected);
  return fields == expected;
}

// Makes an edit in the text, which earlier edits of the same mutant may have changed. Returns
// what is wrong, or nothing.
std::string apply(const YAML::Node& edit, std::string& text) {
  const auto find = edit["find"].as<std::string>(), replace = edit["replace"].as<std::string>();
  if (find == replace) return "find and replace are the same";
  const size_t place = find.empty() ? text.npos : text.find(find);
  if (place == text.npos) return "the text to find is not there";
  if (text.rfind(find) != place) return "the text to find is there more than once";
  text.replace(place, find.size(), replace);
  return "";
}

Problems problems_of_edits(const fs::path& root, const YAML::Node& edits) {
  if (!edits.IsSequence() || edits.size() == 0) return {"there are no edits"};
  Problems problems;
  std::map<std::string, std::string> texts;
  for (const YAML::Node& edit : edits) {
    if (!has_fields(edit, {"file", "find", "replace"})) {
      problems.push_back("an edit has to have file, find and replace, and nothing else");
      continue;
    }
    const auto file = edit["file"].as<std::string>();
    if (!fs::is_regular_file(root / file)) {
      problems.push_back(file + ": this file does not exist");
      continue;
    }
    std::string& text = texts.try_emplace(file, read_text(root / file)).first->second;
    if (const std::string problem = apply(edit, text); !problem.empty()) {
      problems.push_back(file + ": " + problem);
    }
  }
  return problems;
}

Problems problems_of_mutant(const fs::path& root, const YAML::Node& mutant, TestNames& names) {
  if (!has_fields(mutant, {"name", "what", "test", "in", "edits"})) {
    return {"a mutant has to have name, what, test, in and edits, and nothing else"};
  }
  Problems problems = problems_of_edits(root, mutant["edits"]);
  const auto binary = mutant["in"].as<std::string>();
  for (const auto& problem : problems_of_filter(mutant["test"].as<std::string>(), names[binary])) {
    problems.push_back(problem + " in " + binary);
  }
  return problems;
}

std::string name_of(const YAML::Node& mutant) {
  return mutant.IsMap() && mutant["name"] ? mutant["name"].as<std::string>() : "a mutant";
}

// Each names the file, the mutant, and the source where one is to blame.
Problems problems_below(const fs::path& root) {
  Problems problems;
  std::set<std::string> seen;
  TestNames names = test_names(root);
  for (const auto& entry : fs::directory_iterator(root / "tests/mutants")) {
    if (entry.path().extension() != ".yaml") continue;
    for (const YAML::Node& mutant : YAML::LoadFile(entry.path())) {
      const std::string where = entry.path().filename().string() + ": " + name_of(mutant) + ": ";
      for (const auto& problem : problems_of_mutant(root, mutant, names)) {
        problems.push_back(where + problem);
      }
      if (!seen.insert(name_of(mutant)).second) problems.push_back(where + "its name is taken");
    }
  }
  return problems;
}

TEST(Mutants, FitTheSourcesAndNameTheirTests) {
  for (const std::string& problem : problems_below(LEASH_SOURCE_DIR)) ADD_FAILURE() << problem;
}

constexpr const char* kTests = R"(
TEST(Sum, IsRight) {}
TEST_P(Product,
       IsRight) {}
INSTANTIATE_TEST_SUITE_P(Small, Product, ::testing::Values(1));
)";

// A mutant of rl/sum.cpp with one edit.
std::string mutant(const std::string& name, const std::string& test, const std::string& find,
                   const std::string& more = "") {
  return "- name: " + name + "\n  what: it is wrong\n  test: \"" + test +
         "\"\n  in: rl_test\n  edits:\n  - file: rl/sum.cpp\n    find: |2-\n" + find +
         "\n    replace: |2-\n        return a - b;\n" + more;
}

// The problems of these mutants in a folder that has one source and one file of tests.
Problems problems_among(const std::string& mutants) {
  const ScratchFolder root;
  write_text(root / "rl/sum.cpp", "int sum(int a, int b) {\n  return a + b;\n}\n// a + b\n");
  write_text(root / "tests/rl/sum_test.cpp", kTests);
  write_text(root / "tests/mutants/rl.yaml", mutants);
  return problems_below(root.path());
}

constexpr const char* kFits = "        return a + b;";

TEST(Mutants, WhatFitsHasNoProblem) {
  EXPECT_EQ(problems_among(mutant("one", "Sum.IsRight:Small/Product.*", kFits) +
                           mutant("two", "Small/Product.IsRight/1:Su?.*-Sum.IsWrong", kFits)),
            Problems{});
}

TEST(Mutants, AMisfitWouldBeSeen) {
  const std::string where = "rl.yaml: one: ";
  EXPECT_EQ(problems_among(mutant("one", "Sum.*", "        return a * b;")),
            Problems{where + "rl/sum.cpp: the text to find is not there"});
  EXPECT_EQ(problems_among(mutant("one", "Sum.*", "      a + b")),
            Problems{where + "rl/sum.cpp: the text to find is there more than once"});
  EXPECT_EQ(problems_among(mutant("one", "Sum.*", "        return a - b;")),
            Problems{where + "rl/sum.cpp: find and replace are the same"});
  EXPECT_EQ(problems_among(mutant("one", "Sum.IsRight:Product.IsRight", kFits)),
            Problems{where + "no test is called Product.IsRight in rl_test"});
  EXPECT_EQ(
      problems_among(mutant("one", "Sum.*", kFits, "  why: unknown\n")),
      Problems{where + "a mutant has to have name, what, test, in and edits, and nothing else"});
  EXPECT_EQ(problems_among(mutant("one", "Sum.*", kFits, "    why: unknown\n")),
            Problems{where + "an edit has to have file, find and replace, and nothing else"});
  EXPECT_EQ(problems_among(mutant("one", "Sum.*", kFits) + mutant("one", "Sum.*", kFits)),
            Problems{where + "its name is taken"});
}

}  // namespace
}  // namespace leash::testing

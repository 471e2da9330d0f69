// leash label: on the terminal, by a rule, over HTTP until a signal, and merging.
#include <chrono>
#include <csignal>
#include <thread>

#include "tests/cli/run_workspace.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const std::string kGivenPairs =
    "{\"prompt\": \"one\", \"answers\": [\"a  a\", \"b\\n\\tb\"]}\n"
    "{\"prompt\": [{\"role\": \"user\", \"content\": \"two\"}], \"chosen\": [{\"role\": "
    "\"assistant\", \"content\": \"c\"}], \"rejected\": [{\"role\": \"assistant\", \"content\": "
    "\"d \\u001b[31m\"}]}\n"
    "{\"prompt\": \"three\", \"answers\": [\"e\", \"f\"]}\n";

class LabelWorkspace : public RunWorkspace {
 public:
  LabelWorkspace() { write_text(*this / "given.jsonl", kGivenPairs); }

  Ended label(Lines args, const std::string& input = "", ProcessOptions options = {}) const {
    args.insert(args.begin(), "label");
    options.input = input;
    options.folder = path();
    return run_leash(args, std::move(options));
  }
  Ended on_terminal(const std::string& folder, const std::string& input,
                    ProcessOptions options = {}) const {
    return label({"--pairs", "given.jsonl", "--terminal", "--user", "anna", "--out", folder}, input,
                 std::move(options));
  }
  Ended by_rule(const std::string& folder, const std::string& count, Lines more = {}) const {
    Lines args = {"recipe.yaml", "--judge", "rule", "--count", count, "--out", folder};
    args.insert(args.end(), more.begin(), more.end());
    return label(args);
  }
  std::vector<Json> rows(const std::string& folder,
                         const std::string& file = "preferences.jsonl") const {
    return json_lines(read_text(*this / folder / file));
  }
};

TEST(LabelCommand, OnTheTerminal) {
  const LabelWorkspace work;
  const Ended ended = work.on_terminal("labels", "c good\nl\nr\nu\nb\n?\nnonsense\n");
  expect_done(ended);
  EXPECT_THAT(ended.out, HasSubstr("pair 1 of 3"));
  EXPECT_THAT(ended.out, HasSubstr("a  a"));
  EXPECT_THAT(ended.out, HasSubstr("b\n    b"));
  EXPECT_THAT(ended.out, HasSubstr("d \\x1b[31m"));  // nothing that a terminal obeys
  EXPECT_THAT(ended.out, HasSubstr("anna: 1 left, 1 both_bad"));
  const auto rows = work.rows("labels");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0]["judgement"]["comment"], "good");
  EXPECT_EQ(rows[1]["both_bad"], true);
  EXPECT_TRUE(rows[1]["chosen"].is_array());
  // Broken off by the end of the input, it goes on behind the two.
  const Ended more = work.on_terminal("labels", "t\nq\n");
  expect_done(more);
  EXPECT_THAT(more.out, HasSubstr("pair 3 of 3"));
  EXPECT_THAT(more.out, Not(HasSubstr("pair 1 of 3")));
  EXPECT_THAT(more.out, HasSubstr("All pairs are judged"));
  EXPECT_EQ(work.rows("labels")[2]["tie"], true);
}

TEST(LabelCommand, SamplesFromSeveralAdapters) {
  const LabelWorkspace work;
  write_tiny_adapter(work / "adapter", work.model());
  const Lines sources = {"--adapter", "base", "--adapter", "tuned=adapter"};
  const Ended ended = work.by_rule("labels", "5", sources);
  expect_done(ended);
  EXPECT_THAT(ended.out, HasSubstr("preferences: "));
  const auto pairs = work.rows("labels", "pairs.jsonl");
  ASSERT_EQ(pairs.size(), 5u);
  for (const Json& pair : pairs) {
    std::vector<std::string> adapters;
    for (const Json& answer : pair["answers"]) {
      adapters.push_back(answer["source"]["adapter"]);
      EXPECT_EQ(answer["source"]["seed"], 5);
      EXPECT_EQ(answer["source"]["temperature"], 0.7);
    }
    EXPECT_THAT(adapters, ::testing::UnorderedElementsAre("base", "tuned"));
  }
  const auto rows = work.rows("labels");
  EXPECT_EQ(rows.size(), 5u);
  for (const Json& row : rows) EXPECT_TRUE(row["judgement"]["chosen_source"].is_object());
  // The same recipe gives the same pairs, at once or in two parts.
  expect_done(work.by_rule("parts", "2", sources));
  expect_done(work.by_rule("parts", "5", sources));
  EXPECT_EQ(read_text(work / "parts/pairs.jsonl"), read_text(work / "labels/pairs.jsonl"));
  EXPECT_EQ(work.rows("parts").size(), 5u);
  expect_error(work.by_rule("labels", "6"), 2, "was begun with other settings");
}

TEST(LabelCommand, RuleAndNoise) {
  const LabelWorkspace work;
  expect_done(work.by_rule("clean", "6"));
  expect_done(work.by_rule("wrong", "6", {"--judge-noise", "1"}));
  const auto clean = work.rows("clean"), wrong = work.rows("wrong");
  ASSERT_EQ(clean.size(), wrong.size());
  int64_t turned = 0;
  for (size_t i = 0; i < clean.size(); ++i) {
    if (clean[i].contains("tie")) continue;
    EXPECT_EQ(clean[i]["chosen"], wrong[i]["rejected"]);
    ++turned;
  }
  EXPECT_GT(turned, 0);
}

TEST(LabelCommand, ServesUntilASignal) {
  const LabelWorkspace work;
  Process server(leash_command({"label", "--pairs", (work / "given.jsonl").string(), "--out",
                                (work / "labels").string(), "--user", "anna", "--user", "ben"}));
  ASSERT_TRUE(server.wait_until(
      [&] { return std::filesystem::exists(work / "labels/preferences.jsonl"); }));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  expect_error(work.on_terminal("labels", "l\n"), 2, "is in use by another `leash label`");
  server.signal(SIGINT);
  const Ended ended = server.wait();
  EXPECT_EQ(ended.code, 130) << ended.err;
  const Lines lines = lines_of(ended.out);
  ASSERT_GE(lines.size(), 2u);
  EXPECT_THAT(lines[0],
              ::testing::MatchesRegex("anna: http://127.0.0.1:[0-9]+/.token=[-_0-9A-Za-z]+"));
  EXPECT_THAT(lines[1], ::testing::StartsWith("ben: http://127.0.0.1:"));
  EXPECT_THAT(ended.out, HasSubstr("0 pairs judged"));
}

TEST(LabelCommand, Merges) {
  const LabelWorkspace work;
  expect_done(work.on_terminal("anna", "l\nl\nt\n"));
  expect_done(work.label({"--pairs", "given.jsonl", "--terminal", "--user", "ben", "--out", "ben"},
                         "r\nl\nt\n"));
  const Ended ended =
      work.label({"--merge", "anna", "ben/preferences.jsonl", "--out", "all.jsonl"});
  expect_done(ended);
  EXPECT_THAT(ended.out, HasSubstr("6 rows"));
  EXPECT_THAT(ended.out, HasSubstr("3 pairs judged, 3 of them by more than one person"));
  EXPECT_THAT(ended.out, HasSubstr("agreement of anna and ben, Cohen's kappa: "));
  EXPECT_EQ(json_lines(read_text(work / "all.jsonl")).size(), 6u);
  const Ended json = work.label({"--merge", "all.jsonl", "--json"});
  expect_done(json);
  const auto summary = json_lines(json.out).at(0);
  EXPECT_EQ(summary["cohen_kappa"][0]["pairs"], 3);
  EXPECT_EQ(summary["people"].size(), 2u);
  EXPECT_EQ(json_lines(work.label({"--merge", "anna", "ben"}).out).size(), 6u);
  expect_error(work.label({"--merge", "anna", "all.jsonl", "--out", "all.jsonl"}), 2,
               "is one of the files to merge");
}

TEST(LabelCommand, RefusesWhatHasNoEffect) {
  const LabelWorkspace work;
  expect_error(work.label({}), 2, "a recipe is missing, or --pairs, or --merge");
  expect_error(work.label({"--pairs", "given.jsonl", "--temperature", "1"}), 2,
               "--temperature has no effect with --pairs");
  expect_error(work.label({"recipe.yaml", "--temperature", "0"}), 2, "equal answers of base");
  expect_error(work.label({"recipe.yaml", "--temperature", "1", "--temperature", "2",
                           "--temperature", "3", "--answers", "2"}),
               2, "2 answers do not reach 3 sources");
  expect_error(work.label({"recipe.yaml", "--adapter", "dir"}), 2, "has to be NAME=DIR, or base");
  expect_error(work.label({"recipe.yaml", "--user", "a", "--user", "a"}), 2, "given twice");
  expect_error(work.label({"recipe.yaml", "--user", "a", "--user", "b", "--terminal"}), 2,
               "are for one --user");
  expect_error(work.label({"recipe.yaml", "--next", "uncertain"}), 2, "go together");
  expect_error(work.label({"--pairs", "missing.jsonl", "--terminal"}), 3, "missing.jsonl");
  expect_error(work.label({"--merge", "missing.jsonl"}), 3, "missing.jsonl");
}

}  // namespace
}  // namespace leash::testing

// Pairs, the log, and the preferences that follow from both.
#include <sys/resource.h>

#include <csignal>
#include <system_error>

#include "experiments/label/merge.h"
#include "experiments/label/preference_row.h"
#include "models/errors.h"
#include "tests/experiments/label/label_files.h"

namespace leash::label::testing {
namespace {

using ::testing::HasSubstr;

template <class Work>
std::string format_error(const Work& work) {
  try {
    work();
  } catch (const FormatError& error) {
    return error.what();
  }
  return "no error";
}

TEST(LabelPairs, TheirNameForgetsTheOrderOfAnswers) {
  const LabelPair pair = text_pair("p", "x", "y");
  EXPECT_EQ(pair.id, text_pair("p", "y", "x").id);
  EXPECT_EQ(pair.answers[0].content, text_pair("p", "y", "x").answers[0].content);
  EXPECT_NE(pair.id, text_pair("q", "x", "y").id);
  EXPECT_NE(pair.id, text_pair("p", "x", "z").id);
  EXPECT_NE(text_pair("a", "bc", "d").id, text_pair("ab", "c", "d").id);
}

TEST(LabelPairs, AreReadAsPeopleBringThem) {
  const ScratchFolder scratch;
  write_text(scratch / "pairs.jsonl",
             "{\"prompt\": \"p\", \"answers\": [\"a\", \"b\", \"c\", \"a\"]}\n"
             "{\"prompt\": \"p\", \"chosen\": \"b\", \"rejected\": \"a\"}\n"
             "{\"prompt\": [{\"role\": \"user\", \"content\": \"q\"}], \"chosen\": [{\"role\": "
             "\"assistant\", \"content\": \"x\"}], \"rejected\": [{\"role\": \"assistant\", "
             "\"content\": \"y\"}], \"tools\": []}\n");
  const GivenPairs given = read_given_pairs(scratch / "pairs.jsonl");
  EXPECT_EQ(given.pairs.size(), 4u);  // ab, ac, bc, xy
  EXPECT_EQ(given.equal, 1);          // aa
  EXPECT_EQ(given.repeated, 3);       // ab and ac with the second a, ab of the second line
  EXPECT_EQ(given.pairs.back().options["tools"], Json::array());
}

TEST(LabelPairs, RefusalsNameTheLine) {
  const ScratchFolder scratch;
  const auto problem = [&](const std::string& line) {
    write_text(scratch / "pairs.jsonl", line + "\n");
    return format_error([&] { read_given_pairs(scratch / "pairs.jsonl"); });
  };
  EXPECT_THAT(problem("{\"answers\": [\"a\", \"b\"]}"), HasSubstr("pairs.jsonl:1: `prompt`"));
  EXPECT_THAT(problem("{\"prompt\": \"p\", \"answers\": [\"a\"]}"), HasSubstr("at least two"));
  EXPECT_THAT(problem("{\"prompt\": \"p\", \"chosen\": \"a\"}"),
              HasSubstr("`rejected` is missing"));
  EXPECT_THAT(problem("{\"prompt\": \"p\"}"), HasSubstr("needs either `answers`"));
  EXPECT_THAT(problem("{\"prompt\": \"p\", \"answers\": [\"a\", [{\"role\": \"assistant\", "
                      "\"content\": \"b\"}]]}"),
              HasSubstr("both texts, or both lists"));
  EXPECT_THAT(problem("{\"prompt\": [{\"role\": \"user\", \"content\": \"q\"}], \"answers\": "
                      "[[{\"role\": \"user\", \"content\": \"a\"}], [{\"role\": \"assistant\", "
                      "\"content\": \"b\"}]]}"),
              HasSubstr("has to end with a message of the assistant"));
  EXPECT_THAT(problem("{\"prompt\": \"p\", \"answers\": [\"a\", \"a\"]}"),
              HasSubstr("holds no pair of answers that differ"));
}

TEST(LabelFolder, WritesWhatTrainingReads) {
  const ScratchFolder scratch;
  LabelFolder folder(scratch / "labels");
  const std::vector<LabelPair> pairs = numbered_pairs(5);
  folder.add(pairs);
  folder.add(judged("anna", pairs[0].id, Verdict::left, 1, "better"));
  folder.add(judged("anna", pairs[1].id, Verdict::right, 1));
  folder.add(judged("anna", pairs[2].id, Verdict::tie, 1));
  folder.add(judged("anna", pairs[3].id, Verdict::both_bad, 0));
  folder.add(judged("anna", pairs[4].id, Verdict::skip, 0));
  const auto rows = rows_of(folder.preferences_file());
  ASSERT_EQ(rows.size(), 4u);
  const auto text = [&](size_t pair, size_t answer) { return pairs[pair].answers[answer].content; };
  EXPECT_EQ(rows[0]["chosen"], text(0, 1));
  EXPECT_EQ(rows[0]["rejected"], text(0, 0));
  EXPECT_EQ(rows[0]["judgement"]["comment"], "better");
  EXPECT_EQ(rows[0]["judgement"]["chosen_shown"], "left");
  EXPECT_FALSE(rows[0].contains("tie"));
  EXPECT_EQ(rows[1]["chosen"], text(1, 0));
  EXPECT_EQ(rows[1]["judgement"]["chosen_shown"], "right");
  EXPECT_FALSE(rows[1]["judgement"].contains("comment"));
  EXPECT_EQ(rows[2]["tie"], true);
  EXPECT_EQ(rows[2]["chosen"], text(2, 1));  // shown on the left
  EXPECT_EQ(rows[3]["both_bad"], true);
  EXPECT_EQ(rows[3]["chosen"], text(3, 0));
  for (const Json& row : rows) {
    EXPECT_EQ(row["judgement"]["user"], "anna");
    const JudgedRow read = judged_row(row);
    EXPECT_EQ(*preference_row(read.pair, read.judgement), row);
  }
}

TEST(LabelFolder, GoesOnWhereItWas) {
  const ScratchFolder scratch;
  const std::vector<LabelPair> pairs = numbered_pairs(3);
  {
    LabelFolder folder(scratch / "labels");
    folder.add(pairs);
    folder.add(judged("anna", pairs[0].id, Verdict::left));
    folder.add(judged("ben", pairs[0].id, Verdict::right));
    folder.add(judged("anna", pairs[1].id, Verdict::left));
    folder.add(taken_back("anna", pairs[1].id));
  }
  const std::string preferences = read_text(scratch / "labels/preferences.jsonl");
  std::filesystem::remove(scratch / "labels/preferences.jsonl");  // follows from the rest
  LabelFolder folder(scratch / "labels");
  EXPECT_EQ(folder.pairs().size(), 3u);
  EXPECT_TRUE(folder.messages().empty());
  EXPECT_EQ(folder.judgements().all().size(), 2u);
  EXPECT_FALSE(folder.judgements().has("anna", pairs[1].id));
  EXPECT_EQ(read_text(folder.preferences_file()), preferences);
  folder.add(pairs);  // known already
  EXPECT_EQ(rows_of(scratch / "labels/pairs.jsonl").size(), 3u);
}

TEST(LabelFolder, TakingBackRemovesTheRow) {
  const ScratchFolder scratch;
  LabelFolder folder(scratch / "labels");
  const std::vector<LabelPair> pairs = numbered_pairs(2);
  folder.add(pairs);
  folder.add(judged("anna", pairs[0].id, Verdict::left));
  folder.add(judged("ben", pairs[1].id, Verdict::left));
  folder.add(taken_back("anna", pairs[0].id));
  ASSERT_EQ(rows_of(folder.preferences_file()).size(), 1u);
  EXPECT_EQ(rows_of(folder.preferences_file())[0]["judgement"]["user"], "ben");
  EXPECT_THROW(folder.add(taken_back("anna", pairs[0].id)), FormatError);
  EXPECT_THROW(folder.add(judged("ben", pairs[1].id, Verdict::tie)), FormatError);
  EXPECT_EQ(rows_of(scratch / "labels/judgements.jsonl").size(), 3u);
}

// What a crash left of the last line is not there; a whole line that lacks its end is.
TEST(LabelFolder, TornLinesAreCutOff) {
  const ScratchFolder scratch;
  const std::vector<LabelPair> pairs = numbered_pairs(3);
  {
    LabelFolder folder(scratch / "labels");
    folder.add(pairs);
    folder.add(judged("anna", pairs[0].id, Verdict::left));
  }
  const auto log = scratch / "labels/judgements.jsonl";
  const std::string whole = read_text(log);
  write_text(log, whole + event_line(judged("anna", pairs[1].id, Verdict::tie)).substr(0, 40));
  {
    LabelFolder folder(scratch / "labels");
    ASSERT_EQ(folder.messages().size(), 1u);
    EXPECT_THAT(folder.messages()[0], HasSubstr("cut off (40 bytes)"));
    EXPECT_EQ(read_text(log), whole);
  }
  write_text(log, whole.substr(0, whole.size() - 1));
  LabelFolder folder(scratch / "labels");
  EXPECT_TRUE(folder.messages().empty());
  folder.add(judged("anna", pairs[2].id, Verdict::tie));
  EXPECT_EQ(rows_of(log).size(), 2u);
}

TEST(LabelFolder, DamageNamesFileAndLine) {
  const ScratchFolder scratch;
  const std::vector<LabelPair> pairs = numbered_pairs(2);
  const auto log = scratch / "labels/judgements.jsonl";
  const auto problem = [&](const std::string& text) {
    write_text(log, text);
    return format_error([&] { LabelFolder folder(scratch / "labels"); });
  };
  LabelFolder(scratch / "labels").add(pairs);
  const std::string good = event_line(judged("anna", pairs[0].id, Verdict::left));
  EXPECT_THAT(problem(good + "nonsense\n"), HasSubstr("judgements.jsonl:2: is not valid JSON"));
  EXPECT_THAT(problem(good + good), HasSubstr("judgements.jsonl:2: anna judged the pair"));
  EXPECT_THAT(problem(event_line(taken_back("anna", pairs[0].id))),
              HasSubstr("judgements.jsonl:1: the pair"));
  EXPECT_THAT(problem(event_line(judged("anna", "0123456789abcdef", Verdict::left))),
              HasSubstr("has no pair 0123456789abcdef"));
  EXPECT_THAT(problem("{\"event\": \"judge\", \"user\": \"\", \"pair\": \"x\"}\n"),
              HasSubstr("`user` is empty"));
  write_text(log, "");
  const auto file = scratch / "labels/pairs.jsonl";
  std::string text = read_text(file);
  text.replace(text.find("prompt 0"), 8, "prompt 9");
  write_text(file, text);
  EXPECT_THAT(format_error([&] { LabelFolder folder(scratch / "labels"); }),
              HasSubstr("pairs.jsonl:1: `pair` is"));
}

// A disk that takes no more: what could not be saved is not said, and nothing is torn.
TEST(LabelFolder, AFullDiskSavesNothingHalfway) {
  const ScratchFolder scratch;
  const std::vector<LabelPair> pairs = numbered_pairs(2);
  LabelFolder folder(scratch / "labels");
  folder.add(pairs);
  folder.add(judged("anna", pairs[0].id, Verdict::left));
  const auto log = scratch / "labels/judgements.jsonl";
  const std::string before = read_text(log);
  rlimit limit = {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &limit), 0);
  const rlimit full = {before.size() + 20, limit.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &full), 0);
  EXPECT_THROW(folder.add(judged("anna", pairs[1].id, Verdict::tie)), std::system_error);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(read_text(log), before);
  EXPECT_FALSE(folder.judgements().has("anna", pairs[1].id));
  folder.add(judged("anna", pairs[1].id, Verdict::tie));
  EXPECT_EQ(rows_of(log).size(), 2u);
  EXPECT_EQ(rows_of(folder.preferences_file()).size(), 2u);
}

TEST(LabelFolder, IsHeldByOneProcess) {
  const ScratchFolder scratch;
  const LabelFolder folder(scratch / "labels");
  EXPECT_THROW(LabelFolder(scratch / "labels"), ConfigError);
}

TEST(LabelFolder, OtherSettingsAreRefused) {
  const ScratchFolder scratch;
  LabelFolder folder(scratch / "labels");
  folder.settle({{"seed", 1}, {"model", "a"}});
  folder.settle({{"seed", 1}, {"model", "a"}});
  try {
    folder.settle({{"seed", 2}, {"model", "a"}});
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("seed: 1 -> 2"));
  }
}

TEST(LabelMerge, JoinsPeople) {
  const ScratchFolder scratch;
  const std::vector<LabelPair> pairs = numbered_pairs(2);
  for (const std::string user : {"anna", "ben"}) {
    LabelFolder folder(scratch / user);
    folder.add(pairs);
    folder.add(judged(user, pairs[0].id, Verdict::left));
    JournalEvent second = judged(user, pairs[1].id, Verdict::tie, 1);
    second.judgement.time =
        user == "anna" ? "2026-12-01T02:00:00.000Z" : "2026-12-01T04:00:00.000Z";
    folder.add(second);
  }
  // anna judged pair 0 again elsewhere, later.
  LabelFolder again(scratch / "again");
  again.add(pairs);
  JournalEvent later = judged("anna", pairs[0].id, Verdict::right);
  later.judgement.time = "2026-12-01T05:00:00.000Z";
  again.add(later);
  const MergedRows merged = merge_rows(
      {scratch / "anna", scratch / "ben/preferences.jsonl", scratch / "again", scratch / "ben"});
  EXPECT_EQ(merged.rows.size(), 4u);
  EXPECT_EQ(merged.repeated, 2);
  EXPECT_EQ(merged.replaced, 1);
  EXPECT_EQ(merged.rows[0]["judgement"]["time"], "2026-12-01T02:00:00.000Z");
  EXPECT_EQ(merged.rows[3]["judgement"]["time"], "2026-12-01T05:00:00.000Z");
  EXPECT_EQ(merged.judgements[3].verdict, Verdict::right);
  EXPECT_EQ(merged.judgements[0].left, 1);
  write_text(scratch / "foreign.jsonl",
             "{\"prompt\": \"p\", \"chosen\": \"a\", \"rejected\": \"b\"}\n");
  EXPECT_THAT(format_error([&] { merge_rows({scratch / "foreign.jsonl"}); }),
              HasSubstr("foreign.jsonl:1: has no `judgement`"));
}

}  // namespace
}  // namespace leash::label::testing

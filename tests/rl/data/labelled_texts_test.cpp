// Texts with labels: which forms are read, how classes are numbered, what is cut, and how bad lines
// are named.
#include "rl/data/labelled_texts.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "models/errors.h"
#include "tests/rl/byte_tokenizer.h"
#include "tests/support/files.h"

namespace leash {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ScratchFolder;
using testing::write_text;

class LabelledTexts : public ::testing::Test {
 protected:
  LabelledDataSets read(const std::string& train, const std::string& eval = "", uint64_t seed = 1) {
    write_text(folder_ / "tokenizer.json", testing::byte_tokenizer_json());
    write_text(folder_ / "tokenizer_config.json",
               nlohmann::json{{"eos_token", "<|im_end|>"},
                              {"chat_template",
                               "{% for message in messages %}{{'<|im_start|>' + message['role'] + "
                               "'\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% "
                               "if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% "
                               "endif %}"}}
                   .dump());
    write_text(folder_ / "t.jsonl", train);
    config.train = folder_ / "t.jsonl";
    if (!eval.empty()) {
      write_text(folder_ / "e.jsonl", eval);
      config.eval = folder_ / "e.jsonl";
    }
    tokenizer_.emplace(Tokenizer::load(folder_.path()));
    return read_labelled_data_sets(config, *tokenizer_, /*context=*/200, seed, known);
  }
  std::string error(const std::string& train, const std::string& eval = "") {
    try {
      read(train, eval);
    } catch (const FormatError& error) {
      return error.what();
    }
    return "no error";
  }
  static std::vector<int64_t> labels(const LabelledData& data) {
    std::vector<int64_t> result;
    for (const LabelledText& text : data.texts) result.push_back(text.label);
    return result;
  }

  ScratchFolder folder_;
  LabelledDataConfig config;
  KnownClasses known;
  std::optional<Tokenizer> tokenizer_;
};

constexpr char kNames[] =
    "{\"text\": \"ab\", \"label\": \"pos\"}\n\n{\"text\": \"c\", \"label\": \"neg\"}\n"
    "{\"text\": \"d\", \"label\": \"pos\"}\n";

TEST_F(LabelledTexts, NamesAreSortedAndTextsAreRaw) {
  const LabelledDataSets sets = read(kNames);
  EXPECT_THAT(sets.classes, ElementsAre("neg", "pos"));
  EXPECT_THAT(labels(sets.train), ElementsAre(1, 0, 1));
  EXPECT_THAT(sets.train.texts[0].ids, ElementsAre(3 + 'a', 3 + 'b'));  // no EOS
  EXPECT_EQ(sets.train.texts[1].line, 3);
  EXPECT_EQ(sets.train.texts[1].id, 1u);
  EXPECT_TRUE(sets.eval.texts.empty());
  EXPECT_EQ(sets.train.summary(sets.classes), "3 texts, 4 tokens: neg 1, pos 2");
}

TEST_F(LabelledTexts, ChatEndsWhereItsTemplateEnds) {
  const LabelledDataSets sets = read(
      "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}], \"label\": 0}\n"
      "{\"text\": \"x\", \"label\": 1}\n");
  EXPECT_EQ(tokenizer_->decode(sets.train.texts[0].ids), "<|im_start|>user\nhi<|im_end|>\n");
  EXPECT_EQ(sets.train.texts[0].text, "hi");
  EXPECT_THAT(sets.classes, ElementsAre("LABEL_0", "LABEL_1"));
}

TEST_F(LabelledTexts, GivenClassesKeepTheirOrderAndTakeNumbersToo) {
  config.labels = {"pos", "neg", "none"};
  const LabelledDataSets sets = read(std::string(kNames) + "{\"text\": \"e\", \"label\": 2}\n");
  EXPECT_EQ(sets.classes, config.labels);
  EXPECT_THAT(labels(sets.train), ElementsAre(0, 1, 0, 2));
  EXPECT_THAT(
      error("{\"text\": \"a\", \"label\": \"Pos\"}\n{\"text\": \"a\", \"label\": 3}\n"),
      HasSubstr("t.jsonl:1: label `Pos` is none of the classes (0 to 2: pos, neg, none)\n"));
}

TEST_F(LabelledTexts, HeldOutTextsHaveTheTrainingDatasClasses) {
  const LabelledDataSets sets = read(kNames, "{\"text\": \"q\", \"label\": \"pos\"}\n");
  EXPECT_THAT(labels(sets.eval), ElementsAre(1));
  const std::string text = error(
      kNames, "{\"text\": \"q\", \"label\": \"pos\"}\n{\"text\": \"q\", \"label\": \"meh\"}\n");
  EXPECT_THAT(text, HasSubstr("e.jsonl:2: label `meh` is none of the classes (0 to 1: neg, pos)"));
}

// A checkpoint's or an adapter's classes hold, whatever the data happens to have.
TEST_F(LabelledTexts, KnownNamesKeepTheirOrderAndTakeNumbersToo) {
  known = {.names = {"pos", "neg", "none"}, .origin = "the model m"};
  const LabelledDataSets sets = read(std::string(kNames), "{\"text\": \"q\", \"label\": 2}\n");
  EXPECT_EQ(sets.classes, known.names);
  EXPECT_THAT(labels(sets.train), ElementsAre(0, 1, 0));
  EXPECT_THAT(labels(sets.eval), ElementsAre(2));
  EXPECT_THAT(
      error("{\"text\": \"a\", \"label\": \"Pos\"}\n{\"text\": \"a\", \"label\": 3}\n"),
      ::testing::AllOf(
          HasSubstr(
              "t.jsonl:1: label `Pos` is none of the classes of the model m (0 to 2: pos, neg, "
              "none)\n"),
          HasSubstr("t.jsonl:2: label 3 is none of the classes of the model m (0 to 2: ")));
}

TEST_F(LabelledTexts, ANumberSaysNothingWhereTheDataNamesTheClasses) {
  EXPECT_THAT(error(kNames,
                    "{\"text\": \"q\", \"label\": \"pos\"}\n"
                    "{\"text\": \"q\", \"label\": 1}\n"),
              HasSubstr("e.jsonl:2: label 1 is a number, but data.train names the classes"));
  config.labels = {"neg", "pos"};
  EXPECT_THAT(labels(read(kNames, "{\"text\": \"q\", \"label\": 1}\n").eval), ElementsAre(1));
}

// A trained head without names: numbers are its outputs, all of which need not occur.
TEST_F(LabelledTexts, AHeadsOutputsAreCounted) {
  known = {.origin = "the model m", .numbered = 3};
  const LabelledDataSets sets =
      read("{\"text\": \"a\", \"label\": 0}\n{\"text\": \"b\", \"label\": 1}\n");
  EXPECT_THAT(sets.classes, ElementsAre("LABEL_0", "LABEL_1", "LABEL_2"));
  EXPECT_THAT(
      error("{\"text\": \"a\", \"label\": 0}\n{\"text\": \"b\", \"label\": 3}\n"),
      HasSubstr("t.jsonl:2: label 3 is none of the classes of the model m (0 to 2: LABEL_0, "
                "LABEL_1, LABEL_2)"));
  EXPECT_THAT(read(kNames).classes, ElementsAre("neg", "pos"));
}

TEST_F(LabelledTexts, BadLinesAreAllNamed) {
  const std::string text = error(
      "{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \"a\"}\n{\"label\": \"x\"}\n[]\n"
      "{\"text\": \"a\", \"label\": 1}\n{\"text\": \"a\", \"label\": true}\n"
      "{\"text\": \"\", \"label\": \"x\"}\n{\"text\": 3, \"label\": \"x\"}\n"
      "{\"text\": \"a\", \"messages\": [], \"label\": \"x\"}\n");
  for (const char* part :
       {"t.jsonl:2: needs a `label`", "t.jsonl:3: needs either `text` or `messages`",
        "t.jsonl:4: is not a JSON object", "t.jsonl:5: `label` is a name on some lines",
        "t.jsonl:6: `label` has to be a name, or a whole number from 0 to 9999",
        "t.jsonl:7: a text without a token", "t.jsonl:8: `text` has to be a text",
        "t.jsonl:9: needs either"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_THAT(error("{\"text\": \"a\", \"label\": 0}\n{\"text\": \"a\", \"label\": 2}\n"),
              HasSubstr("labels go up to 2, but no line has 1"));
  EXPECT_THAT(error("{\"text\": \"a\", \"label\": 0}\n"), HasSubstr("have the same label"));
  EXPECT_THAT(error("{\"text\": \"a\", \"label\": -1}\n"), HasSubstr("t.jsonl:1: `label` has"));
  EXPECT_THAT(error("{\"text\": \"a\", \"label\": 18446744073709551615}\n"),
              HasSubstr("t.jsonl:1: 18446744073709551615 does not fit"));
  EXPECT_THAT(error("\n"), HasSubstr("holds no texts"));
}

TEST_F(LabelledTexts, BadLinesOfBothFilesAreNamedTogether) {
  const std::string held_out = "{\"text\": \"c\", \"label\": 9}\n{\"text\": 1, \"label\": 9}\n";
  const std::string both = error("{\"text\": \"a\", \"label\": 0}\n[]\n", held_out);
  EXPECT_THAT(both, HasSubstr("t.jsonl:2: is not a JSON object\n"));
  EXPECT_THAT(both, HasSubstr("e.jsonl:2: "));
  // Which classes there are is not known then.
  EXPECT_THAT(both, ::testing::Not(HasSubstr("e.jsonl:1: ")));
}

TEST_F(LabelledTexts, LongTextsAreCutOnOneSide) {
  config.max_length = 3;
  const std::string text =
      "{\"text\": \"abcde\", \"label\": 0}\n{\"text\": \"xyz\", \"label\": 1}\n";
  LabelledDataSets sets = read(text);
  EXPECT_THAT(sets.train.texts[0].ids, ElementsAre(3 + 'a', 3 + 'b', 3 + 'c'));
  EXPECT_EQ(sets.train.summary(sets.classes),
            "2 texts, 6 tokens: LABEL_0 1, LABEL_1 1; 1 truncated by 2 tokens in all");
  config.truncation_mode = TruncationMode::keep_end;
  EXPECT_THAT(read(text).train.texts[0].ids, ElementsAre(3 + 'c', 3 + 'd', 3 + 'e'));
}

TEST_F(LabelledTexts, APartIsHeldOutBySeed) {
  std::string text;
  for (int i = 0; i < 20; ++i) {
    text += fmt::format("{{\"text\": \"t{}\", \"label\": {}}}\n", i, i % 2);
  }
  config.eval_split = 0.24;
  const LabelledDataSets sets = read(text);
  EXPECT_EQ(sets.eval.texts.size(), 5u);
  EXPECT_EQ(sets.train.texts.size(), 15u);
  EXPECT_EQ(sets.train.counts.tokens + sets.eval.counts.tokens, 10 * 2 + 10 * 3);
  config.max_length = 2;
  const LabelledDataSets cut = read(text);
  EXPECT_EQ(cut.train.counts.truncated + cut.eval.counts.truncated, 10);
  EXPECT_GT(cut.eval.counts.truncated, 0);
  config.max_length = 1024;
  const auto lines = [](const LabelledDataSets& some) {
    std::vector<int64_t> result;
    for (const LabelledText& each : some.eval.texts) result.push_back(each.line);
    return result;
  };
  EXPECT_TRUE(std::ranges::is_sorted(lines(sets)));
  EXPECT_EQ(lines(read(text)), lines(sets));
  EXPECT_NE(lines(read(text, "", 2)), lines(sets));
  config.eval_split = 0.96;
  EXPECT_THAT(error(text), HasSubstr("leave none to train on"));
}

}  // namespace
}  // namespace leash

// Preference pairs: which formats are read, where prompts end, what is cut and dropped, how a file
// is split, and how bad lines are named.
#include "rl/data/preferences.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <set>

#include "models/errors.h"
#include "tests/rl/byte_tokenizer.h"
#include "tests/support/files.h"

namespace leash {
namespace {

using ::testing::AllOf;
using testing::byte_tokenizer_json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::kChatMl;
using testing::ScratchFolder;
using testing::write_text;

class PreferencesTest : public ::testing::Test {
 protected:
  Tokenizer tokenizer() const {
    write_text(folder_ / "tokenizer.json", byte_tokenizer_json());
    nlohmann::json config = {{"chat_template", kChatMl}};
    if (has_eos) config["eos_token"] = "<|im_end|>";
    write_text(folder_ / "tokenizer_config.json", config.dump());
    return Tokenizer::load(folder_.path());
  }
  PreferenceDataSets sets(const std::string& text, uint64_t seed = 1) {
    write_text(folder_ / "p.jsonl", text);
    config.train = folder_ / "p.jsonl";
    return read_preference_data_sets(config, tokenizer(), /*context=*/200, seed);
  }
  PreferenceData read(const std::string& text) { return sets(text).train; }
  std::string error(const std::string& text) {
    try {
      read(text);
    } catch (const FormatError& error) {
      return error.what();
    }
    return "no error";
  }
  std::string text_of(const std::vector<int64_t>& ids) const { return tokenizer().decode(ids); }

  ScratchFolder folder_;
  PreferenceDataConfig config;
  bool has_eos = true;
};

TEST_F(PreferencesTest, TextsWithTheirPrompt) {
  const PreferenceData data = read(
      "{\"prompt\": \"Q? \", \"chosen\": \"ab\", \"rejected\": \"acd\", \"margin\": 0.5}\n"
      "{\"prompt\": \"Q? \", \"chosen\": \"x\", \"rejected\": \"y\"}\n"
      "{\"prompt\": \"R? \", \"chosen\": \"x\", \"rejected\": \"y\", \"margin\": null}\n");
  ASSERT_EQ(data.pairs.size(), 3u);
  const PreferencePair& pair = data.pairs[0];
  EXPECT_EQ(text_of(pair.chosen), "Q? ab<|im_end|>");
  EXPECT_EQ(text_of(pair.rejected), "Q? acd<|im_end|>");
  EXPECT_EQ(pair.common, 4);
  EXPECT_EQ(pair.chosen_length(), 2);
  EXPECT_EQ(pair.rejected_length(), 3);
  EXPECT_EQ(pair.rows(), 9);
  EXPECT_EQ(pair.margin, 0.5);
  EXPECT_EQ(pair.prompt_text, "Q? ");
  EXPECT_EQ(pair.chosen_text, "ab");
  EXPECT_EQ(data.pairs[2].margin, 0);
  EXPECT_EQ(data.pairs[2].line, 3);
  EXPECT_EQ(data.pairs[2].id, 2u);
  EXPECT_EQ(data.pairs[1].prompt, 0);
  EXPECT_EQ(data.pairs[2].prompt, 1);
  EXPECT_EQ(data.counts.text(),
            "3 pairs over 2 prompts, 33 tokens (10 of them shared by the two of a pair); 1 with a "
            "margin");
  config.append_eos = false;
  EXPECT_EQ(text_of(read("{\"chosen\": \"ab\", \"rejected\": \"ac\"}").pairs[0].chosen), "ab");
}

TEST_F(PreferencesTest, ASequenceThatTheOtherBeginsWithKeepsATokenOfItsOwn) {
  config.append_eos = false;
  const PreferencePair pair = read("{\"chosen\": \"abc\", \"rejected\": \"abcde\"}").pairs[0];
  EXPECT_EQ(pair.common, 2);
  EXPECT_EQ(pair.chosen_length(), 1);
  EXPECT_EQ(pair.rejected_length(), 3);
}

TEST_F(PreferencesTest, TextsThatHoldTheirPrompt) {
  const PreferenceData data = read(
      "{\"chosen\": \"Me: hi\\nYou: the best\", \"rejected\": \"Me: hi\\nYou: the rest\"}\n"
      "{\"chosen\": \"Me: hi\\nYou: no\", \"rejected\": \"Me: hi\\nA\"}\n"
      "{\"chosen\": \"one two\", \"rejected\": \"one three\"}\n"
      "{\"chosen\": \"yes\", \"rejected\": \"no\"}\n");
  EXPECT_EQ(data.pairs[0].prompt_text, "Me: hi\n");
  EXPECT_EQ(data.pairs[0].chosen_text, "You: the best");
  EXPECT_EQ(data.pairs[1].prompt, data.pairs[0].prompt);
  EXPECT_EQ(data.pairs[2].prompt_text, "one ");
  EXPECT_EQ(data.pairs[3].prompt_text, "");
  EXPECT_EQ(text_of(data.pairs[0].rejected), "Me: hi\nYou: the rest<|im_end|>");
  EXPECT_EQ(data.counts.prompts, 3);
}

TEST_F(PreferencesTest, ChatsWithAndWithoutTheirPrompt) {
  const std::string user = R"({"role": "user", "content": "hi"})";
  const auto says = [](const std::string& text) {
    return fmt::format(R"({{"role": "assistant", "content": "{}"}})", text);
  };
  const PreferenceData data =
      read(fmt::format("{{\"prompt\": [{0}], \"chosen\": [{1}], \"rejected\": [{2}]}}\n"
                       "{{\"chosen\": [{0}, {1}], \"rejected\": [{0}, {2}]}}\n",
                       user, says("yes"), says("no")));
  ASSERT_EQ(data.pairs.size(), 2u);
  EXPECT_EQ(text_of(data.pairs[0].chosen),
            "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>");
  EXPECT_EQ(data.pairs[0].chosen, data.pairs[1].chosen);
  EXPECT_EQ(data.pairs[0].rejected, data.pairs[1].rejected);
  EXPECT_EQ(data.pairs[0].prompt_key, data.pairs[1].prompt_key);
  EXPECT_EQ(data.pairs[1].prompt_text, "hi");
  EXPECT_EQ(data.pairs[1].chosen_text, "yes");
  config.end_at_eos = false;  // as TRL has it
  EXPECT_EQ(text_of(read(fmt::format("{{\"chosen\": [{0}, {1}], \"rejected\": [{0}, {2}]}}", user,
                                     says("yes"), says("no")))
                        .pairs[0]
                        .chosen),
            "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>\n");
}

TEST_F(PreferencesTest, BadLinesAreAllNamed) {
  const std::string text = error(
      "{\"chosen\": \"a\"}\n"
      "{\"chosen\": \"a\", \"rejected\": [1]}\n"
      "{\"prompt\": \"p\", \"chosen\": [{\"role\": \"assistant\", \"content\": \"a\"}], "
      "\"rejected\": [{\"role\": \"assistant\", \"content\": \"b\"}]}\n"
      "nonsense\n"
      "{\"chosen\": \"a\", \"rejected\": \"a\"}\n"
      "{\"chosen\": \"a\", \"rejected\": \"b\", \"margin\": \"big\"}\n"
      "{\"chosen\": [{\"role\": \"user\", \"content\": \"a\"}], \"rejected\": [{\"role\": "
      "\"assistant\", \"content\": \"b\"}]}\n"
      "{\"chosen\": \"fine\", \"rejected\": \"as well\"}\n");
  for (const char* part :
       {"p.jsonl:1: needs `chosen` and `rejected`", "p.jsonl:2: `chosen` and `rejected` have to be",
        "p.jsonl:3: `prompt`, `chosen` and `rejected` have to be", "p.jsonl:4: is not valid JSON",
        "p.jsonl:5: chosen and rejected are the same", "p.jsonl:6: `margin` has to be",
        "p.jsonl:7: `chosen` has to end with a message of the assistant"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_THAT(error(""), HasSubstr("holds no pairs"));
  std::string many;
  for (int i = 0; i < 30; ++i) many += "{}\n";
  const std::string all = error(many);
  EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 19);
  has_eos = false;
  EXPECT_THAT(error("{\"chosen\": \"a\", \"rejected\": \"b\"}"), HasSubstr("names no EOS token"));
}

TEST_F(PreferencesTest, BadLinesOfBothFilesAreNamedTogether) {
  write_text(folder_ / "e.jsonl", "{\"chosen\": \"a\"}\n");
  config.eval = folder_ / "e.jsonl";
  EXPECT_THAT(error("{\"chosen\": \"xa\", \"rejected\": \"xb\"}\n7\n"),
              AllOf(HasSubstr("p.jsonl:2: is not a JSON object\n"),
                    HasSubstr("e.jsonl:1: needs `chosen` and `rejected`")));
}

TEST_F(PreferencesTest, WhatIsTooLongIsDroppedOrCutAndCounted) {
  const std::string text =
      "{\"prompt\": \"0123456\", \"chosen\": \"ab\", \"rejected\": \"cd\"}\n"
      "{\"prompt\": \"0\", \"chosen\": \"a\", \"rejected\": \"b\"}\n";
  config.max_length = 7;
  const PreferenceData dropped = read(text);
  EXPECT_EQ(dropped.pairs.size(), 1u);
  EXPECT_EQ(dropped.pairs[0].id, 1u);  // ids stay those of the file
  EXPECT_THAT(dropped.counts.text(), HasSubstr("; 1 dropped: longer than max_length"));
  config.truncation_mode = PairTruncation::keep_end;
  const PreferenceData cut = read(text);
  EXPECT_EQ(text_of(cut.pairs[0].chosen), "3456ab<|im_end|>");
  EXPECT_EQ(cut.pairs[0].common, 4);
  EXPECT_THAT(cut.counts.text(), HasSubstr("; 1 truncated by 6 tokens in all"));
  config.truncation_mode = PairTruncation::keep_start;  // nothing is left of the answers
  EXPECT_THAT(read(text).counts.text(), HasSubstr("; 1 dropped: equal where they were cut"));
  config.max_length.reset();
  EXPECT_EQ(read(text).pairs.size(), 2u);
  config.truncation_mode = PairTruncation::drop;
  EXPECT_THAT(error("{\"chosen\": \"" + std::string(300, 'a') + "\", \"rejected\": \"b\"}"),
              HasSubstr("none of its 1 pairs is left"));
}

TEST_F(PreferencesTest, TheSplitTakesWholePrompts) {
  std::string text;
  for (int i = 0; i < 40; ++i) {
    text += fmt::format("{{\"prompt\": \"{}?\", \"chosen\": \"yes{}\", \"rejected\": \"no\"}}\n",
                        i % 10, i);
  }
  config.eval_split = 0.25;
  const PreferenceDataSets split = sets(text);
  EXPECT_EQ(split.eval.counts.prompts, 3);  // a quarter of 10, rounded up
  EXPECT_EQ(split.eval.pairs.size(), 12u);
  EXPECT_EQ(split.train.pairs.size(), 28u);
  EXPECT_EQ(split.train.counts.prompts, 7);
  EXPECT_EQ(leaked_pairs(split), 0);
  std::set<int64_t> numbers;
  for (const PreferencePair& pair : split.train.pairs) numbers.insert(pair.prompt);
  EXPECT_EQ(*numbers.rbegin(), 6);  // numbered anew
  const PreferenceDataSets again = sets(text);
  EXPECT_EQ(again.eval.pairs[0].line, split.eval.pairs[0].line);
  EXPECT_NE(sets(text, 2).eval.pairs[0].line, split.eval.pairs[0].line);
  config.eval_split = 0.95;
  EXPECT_THAT(error(text), HasSubstr("leave none to train on"));
}

TEST_F(PreferencesTest, SharedPromptsOfTwoFilesAreCounted) {
  write_text(folder_ / "e.jsonl",
             "{\"prompt\": \"1?\", \"chosen\": \"a\", \"rejected\": \"b\"}\n"
             "{\"prompt\": \"2?\", \"chosen\": \"a\", \"rejected\": \"b\"}\n");
  config.eval = folder_ / "e.jsonl";
  EXPECT_EQ(leaked_pairs(sets("{\"prompt\": \"1?\", \"chosen\": \"c\", \"rejected\": \"d\"}")), 1);
}

TEST_F(PreferencesTest, TiesAndPairsOfBadAnswers) {
  const std::string text =
      "{\"prompt\": \"Q \", \"chosen\": \"a\", \"rejected\": \"b\", \"who\": \"ann\", \"when\": "
      "3}\n"
      "{\"prompt\": \"Q \", \"chosen\": \"a\", \"rejected\": \"c\", \"tie\": true, \"margin\": 2}\n"
      "{\"prompt\": \"Q \", \"chosen\": \"a\", \"rejected\": \"a\", \"tie\": true}\n"
      "{\"prompt\": \"Q \", \"chosen\": \"d\", \"rejected\": \"d\", \"both_bad\": true}\n"
      "{\"prompt\": \"Q \", \"chosen\": \"e\", \"rejected\": \"f\", \"tie\": false, \"both_bad\": "
      "null}\n";
  const PreferenceData dropped = read(text);
  EXPECT_EQ(dropped.pairs.size(), 2u);
  EXPECT_THAT(dropped.counts.text(), HasSubstr("; 2 dropped: ties; 1 dropped: both bad"));
  config.ties = Ties::half;
  const PreferenceData half = read(text);
  ASSERT_EQ(half.pairs.size(), 3u);
  EXPECT_FALSE(half.pairs[0].tie);
  EXPECT_TRUE(half.pairs[1].tie);
  EXPECT_EQ(half.pairs[1].margin, 0);
  EXPECT_THAT(half.counts.text(), HasSubstr("; 1 are ties"));
  // Held out, a tie has no right answer.
  config.eval = folder_ / "p.jsonl";
  EXPECT_EQ(sets(text).eval.pairs.size(), 2u);
  EXPECT_THAT(error("{\"chosen\": \"a\", \"rejected\": \"b\", \"tie\": 1}"),
              HasSubstr("p.jsonl:1: `tie` has to be true or false"));
  config.eval.reset();
  EXPECT_THAT(error("{\"chosen\": \"a\", \"rejected\": \"b\", \"tie\": true}"
                    "\n{\"chosen\": \"a\", \"rejected\": 3}"),
              HasSubstr("p.jsonl:2: "));
}

TEST_F(PreferencesTest, AnswersBeginWhereTheirPromptEnds) {
  config.truncation_mode = PairTruncation::keep_end;
  config.max_length = 12;
  const auto answers = [&](const std::string& text) {
    write_text(folder_ / "p.jsonl", text);
    return read_preferences(folder_ / "p.jsonl", tokenizer(), config, 200, PairUse::answers);
  };
  // Cut from the left, each answer keeps its own end.
  const PreferencePair pair =
      answers("{\"prompt\": \"12345678\", \"chosen\": \"abc\", \"rejected\": \"abcdef\"}").pairs[0];
  EXPECT_EQ(text_of(pair.chosen), "12345678abc<|im_end|>");
  EXPECT_EQ(text_of(pair.rejected), "45678abcdef<|im_end|>");
  EXPECT_EQ(pair.chosen_begin, 8);
  EXPECT_EQ(pair.rejected_begin, 5);
  EXPECT_EQ(pair.margin, 0);
  EXPECT_EQ(answers("{\"prompt\": \"1\", \"chosen\": \"abcdefghijklmnop\", \"rejected\": \"a\"}")
                .pairs[0]
                .chosen_begin,
            0);
  config.append_eos = false;
  write_text(folder_ / "p.jsonl", "{\"prompt\": \"Q\", \"chosen\": \"\", \"rejected\": \"a\"}");
  EXPECT_THROW(answers("{\"prompt\": \"Q\", \"chosen\": \"\", \"rejected\": \"a\"}"), FormatError);
}

}  // namespace
}  // namespace leash

// Supervised samples: which formats are read, which tokens train, what is cut and dropped, and how
// bad lines are named.
#include "rl/data/sft_data.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "models/errors.h"
#include "models/tokenizer/chat_template.h"
#include "tests/rl/byte_tokenizer.h"
#include "tests/support/files.h"

namespace leash {
namespace {

using testing::byte_tokenizer_json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::kChatMl;
using ::testing::Not;
using testing::ScratchFolder;
using testing::write_text;

class SftDataTest : public ::testing::Test {
 protected:
  Tokenizer tokenizer() const {
    write_text(folder_ / "tokenizer.json", byte_tokenizer_json());
    nlohmann::json config = nlohmann::json::object();
    if (has_template) config["chat_template"] = kChatMl;
    if (has_eos) config["eos_token"] = "<|im_end|>";
    write_text(folder_ / "tokenizer_config.json", config.dump());
    return Tokenizer::load(folder_.path());
  }
  SftData read(const std::string& text) const {
    write_text(folder_ / "s.jsonl", text);
    return read_sft_data(folder_ / "s.jsonl", tokenizer(), config, /*context=*/200);
  }
  std::string error(const std::string& text) const {
    try {
      read(text);
    } catch (const FormatError& error) {
      return error.what();
    }
    return "no error";
  }
  // The text of what trains, special tokens included.
  std::string trained_text(const SftSample& sample) const {
    std::vector<int64_t> ids;
    for (size_t i = 0; i < sample.ids.size(); ++i) {
      if (sample.trained[i] == 1) ids.push_back(sample.ids[i]);
    }
    return tokenizer().decode(ids);
  }

  ScratchFolder folder_;
  SftDataConfig config;
  bool has_template = true;
  bool has_eos = true;
};

TEST_F(SftDataTest, TextTrainsWholeWithEosAtItsEnd) {
  const SftData data = read("{\"text\": \"abc\"}\n{\"text\": \"de<|im_end|>\"}\n");
  ASSERT_EQ(data.samples.size(), 2u);
  EXPECT_THAT(data.samples[0].ids, ElementsAre(3 + 'a', 3 + 'b', 3 + 'c', 2));
  EXPECT_THAT(data.samples[0].trained, ElementsAre(0, 1, 1, 1));       // nothing predicts the first
  EXPECT_THAT(data.samples[1].ids, ElementsAre(3 + 'd', 3 + 'e', 2));  // EOS is there already
  config.append_eos = false;
  EXPECT_THAT(read("{\"text\": \"abc\"}").samples[0].ids, ElementsAre(3 + 'a', 3 + 'b', 3 + 'c'));
}

TEST_F(SftDataTest, CompletionsTrainAloneUnlessToldOtherwise) {
  const std::string line = "{\"prompt\": \"ab\", \"completion\": \"cd\"}";
  EXPECT_THAT(read(line).samples[0].ids, ElementsAre(3 + 'a', 3 + 'b', 3 + 'c', 3 + 'd', 2));
  EXPECT_THAT(read(line).samples[0].trained, ElementsAre(0, 0, 1, 1, 1));
  config.completion_only_loss = false;
  EXPECT_THAT(read(line).samples[0].trained, ElementsAre(0, 1, 1, 1, 1));
}

// `weight: 0` leaves a message out of the loss, whatever else is trained on.
TEST_F(SftDataTest, MessagesOfNoWeightDoNotTrain) {
  const auto line = [](const char* first, const char* second) {
    return fmt::format(
        "{{\"messages\": [{{\"role\": \"user\", \"content\": \"a\"}}, "
        "{{\"role\": \"assistant\", \"content\": \"b\"{}}}, "
        "{{\"role\": \"user\", \"content\": \"c\"}}, "
        "{{\"role\": \"assistant\", \"content\": \"d\"{}}}]}}",
        first, second);
  };
  const auto trained = [&](const std::string& text) {
    return trained_text(read(text).samples.at(0));
  };
  const std::string all = trained(line("", ""));
  EXPECT_EQ(trained(line(", \"weight\": 1", ", \"weight\": 1.0")), all);
  EXPECT_EQ(trained(line(", \"weight\": null", "")), all) << "as Arrow fills in";
  std::string without = all;
  without.erase(without.find("<|im_start|>assistant\nb<|im_end|>\n"),
                std::string("<|im_start|>assistant\nb<|im_end|>\n").size());
  EXPECT_EQ(trained(line(", \"weight\": 0", "")), without);
  config.assistant_only_loss = true;
  EXPECT_EQ(trained(line(", \"weight\": 0", "")), "d<|im_end|>\n");
  EXPECT_EQ(trained(line("", ", \"weight\": 0")), "b<|im_end|>\n");
  config.assistant_only_loss = false;
  const std::string completion =
      "{\"prompt\": [{\"role\": \"user\", \"content\": \"a\"}], \"completion\": [{\"role\": "
      "\"assistant\", \"content\": \"b\", \"weight\": 0}, {\"role\": \"user\", \"content\": "
      "\"c\"}]}";
  EXPECT_EQ(trained(completion), "<|im_start|>user\nc<|im_end|>\n");
  EXPECT_THAT(error(line("", ", \"weight\": 0.5")),
              HasSubstr("s.jsonl:1: messages[3]: `weight` has to be 0 (not trained on) or 1"));
  EXPECT_THAT(error(line(", \"weight\": \"0\"", "")), HasSubstr("messages[1]: `weight` has to be"));
}

// "bend" is b + end, "be" is b + e: what the prompt alone would not have does train.
TEST_F(SftDataTest, TrainingBeginsWhereAMergedBorderDiffers) {
  const Tokenizer merging = Tokenizer::load(testing::repository("tests/golden/tiny_tokenizer"));
  config.append_eos = false;
  write_text(folder_ / "s.jsonl",
             "{\"prompt\": \"xu be\", \"completion\": \"nd it\"}\n"
             "{\"prompt\": \"xu \", \"completion\": \"be\"}\n"
             "{\"prompt\": \"xu\", \"completion\": \" be\"}\n");
  const SftData data = read_sft_data(folder_ / "s.jsonl", merging, config, 200);
  const auto trained = [&](const SftSample& sample) {
    std::vector<int64_t> ids;
    for (size_t i = 0; i < sample.ids.size(); ++i) {
      if (sample.trained[i] == 1) ids.push_back(sample.ids[i]);
    }
    return merging.decode(ids);
  };
  EXPECT_EQ(trained(data.samples.at(0)), "end it");
  EXPECT_EQ(data.samples[0].prompt_tokens,
            static_cast<int64_t>(merging.encode("xu be").size()) - 1);
  EXPECT_EQ(trained(data.samples.at(1)), " be");
  EXPECT_EQ(trained(data.samples.at(2)), " be");
  EXPECT_EQ(data.counts.merged_borders, 2);
  EXPECT_THAT(data.counts.text(), HasSubstr("in 2 the prompt's last token merges"));
}

TEST_F(SftDataTest, MessagesTrainWholeOrTheAssistantsPartAlone) {
  const std::string line =
      "{\"messages\": [{\"role\": \"system\", \"content\": \"S\"}, {\"role\": \"user\", "
      "\"content\": \"Q\"}, {\"role\": \"assistant\", \"content\": \"A1\"}, {\"role\": \"user\", "
      "\"content\": \"R\"}, {\"role\": \"assistant\", \"content\": \"A2\"}]}";
  const SftSample whole = read(line).samples[0];
  EXPECT_EQ(
      tokenizer().decode(whole.ids),
      "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
      "A1<|im_end|>\n<|im_start|>user\nR<|im_end|>\n<|im_start|>assistant\nA2<|im_end|>\n");
  EXPECT_EQ(whole.num_trained(), static_cast<int64_t>(whole.ids.size()) - 1);
  config.assistant_only_loss = true;
  EXPECT_EQ(trained_text(read(line).samples[0]), "A1<|im_end|>\nA2<|im_end|>\n");
}

// What the template puts in front by itself is not the assistant's.
TEST_F(SftDataTest, AConversationThatTheAssistantBegins) {
  const std::string line =
      "{\"messages\": [{\"role\": \"assistant\", \"content\": \"A\"}, {\"role\": \"user\", "
      "\"content\": \"Q\"}, {\"role\": \"assistant\", \"content\": \"B\"}]}";
  config.assistant_only_loss = true;
  EXPECT_EQ(trained_text(read(line).samples[0]), "A<|im_end|>\nB<|im_end|>\n");
  const Tokenizer smollm2 = Tokenizer::load(testing::smollm2());
  write_text(folder_ / "s.jsonl", line);
  const SftData data = read_sft_data(folder_ / "s.jsonl", smollm2, config, /*context=*/200);
  std::vector<int64_t> trained;
  for (size_t i = 0; i < data.samples[0].ids.size(); ++i) {
    if (data.samples[0].trained[i] == 1) trained.push_back(data.samples[0].ids[i]);
  }
  EXPECT_EQ(smollm2.decode(trained), "A<|im_end|>\nB<|im_end|>\n");
  config.assistant_only_loss = false;  // the same for a completion without a prompt of its own
  write_text(folder_ / "s.jsonl",
             "{\"messages\": [{\"role\": \"assistant\", \"content\": \"A\"}]}");
  const SftData alone = read_sft_data(folder_ / "s.jsonl", smollm2, config, /*context=*/200);
  EXPECT_EQ(alone.counts.merged_borders, 0);
  const auto& ids = alone.samples[0].ids;
  EXPECT_EQ(smollm2.decode({ids.begin() + alone.samples[0].prompt_tokens, ids.end()}),
            "A<|im_end|>\n");
}

TEST_F(SftDataTest, RowsEndBeforeTheLastTrainedToken) {
  config.assistant_only_loss = true;
  const SftSample sample =
      read(
          "{\"messages\": [{\"role\": \"user\", \"content\": \"Q\"}, {\"role\": \"assistant\", "
          "\"content\": \"A\"}, {\"role\": \"user\", \"content\": \"more\"}]}")
          .samples[0];
  const std::string before = "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA<|im_end|>";
  EXPECT_EQ(sample.num_rows(), static_cast<int64_t>(tokenizer().encode(before).size()));
  EXPECT_EQ(trained_text(sample), "A<|im_end|>\n");
}

TEST_F(SftDataTest, ConversationalCompletionsBeginAfterTheGenerationPrompt) {
  const std::string line =
      "{\"prompt\": [{\"role\": \"user\", \"content\": \"Q\"}], \"completion\": [{\"role\": "
      "\"assistant\", \"content\": \"A\"}, {\"role\": \"user\", \"content\": \"R\"}]}";
  const SftSample sample = read(line).samples[0];
  EXPECT_EQ(trained_text(sample), "A<|im_end|>\n<|im_start|>user\nR<|im_end|>\n");
  config.assistant_only_loss = true;  // both masks hold
  EXPECT_EQ(trained_text(read(line).samples[0]), "A<|im_end|>\n");
}

TEST_F(SftDataTest, PromptsAreWhatAModelCanBeAsked) {
  const std::string chat =
      "[{\"role\": \"user\", \"content\": \"Q\"}, {\"role\": \"assistant\", \"content\": \"A\"}]";
  const SftData data =
      read("{\"messages\": " + chat +
           "}\n{\"prompt\": \"ab\", \"completion\": \"c\"}\n{\"text\": \"abc\"}\n");
  const std::string asked = "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n";
  EXPECT_EQ(data.samples[0].prompt, "Q");
  EXPECT_EQ(data.samples[0].prompt_tokens, static_cast<int64_t>(tokenizer().encode(asked).size()));
  EXPECT_EQ(data.samples[1].prompt, "ab");
  EXPECT_EQ(data.samples[1].prompt_tokens, 2);
  EXPECT_EQ(data.samples[2].prompt_tokens, 0);
  config.max_length = 5;
  EXPECT_EQ(read("{\"messages\": " + chat + "}\n").samples[0].prompt_tokens, 0);
}

TEST_F(SftDataTest, CutsAndDropsAreCounted) {
  config.max_length = 4;
  const std::string text =
      "{\"text\": \"abcdef\"}\n{\"prompt\": \"abcd\", \"completion\": \"e\"}\n{\"text\": \"ab\"}\n"
      "{\"text\": \"\"}\n";
  SftData data = read(text);
  ASSERT_EQ(data.samples.size(), 2u);
  EXPECT_THAT(data.samples[0].ids, ElementsAre(3 + 'a', 3 + 'b', 3 + 'c', 3 + 'd'));
  EXPECT_EQ(data.counts.lines, 4);
  EXPECT_EQ(data.counts.truncated, 2);   // the first and the second
  EXPECT_EQ(data.counts.cut_tokens, 5);  // 7 - 4 and 6 - 4
  EXPECT_EQ(data.counts.dropped, 2);     // its completion was cut off; EOS alone
  EXPECT_EQ(data.counts.tokens, 7);
  EXPECT_EQ(data.counts.trained_tokens, 5);
  EXPECT_EQ(data.samples[1].line, 3);
  EXPECT_EQ(data.samples[1].id, 2u);  // of the file's samples, dropped ones counted
  EXPECT_EQ(
      data.counts.text(),
      "2 samples, 7 tokens (5 trained); 2 truncated by 5 tokens in all; 2 dropped: no trained "
      "token left");
  config.truncation_mode = TruncationMode::keep_end;
  data = read(text);
  EXPECT_THAT(data.samples[0].ids, ElementsAre(3 + 'd', 3 + 'e', 3 + 'f', 2));
  EXPECT_THAT(data.samples[0].trained, ElementsAre(0, 1, 1, 1));
  EXPECT_THAT(data.samples[1].trained, ElementsAre(0, 0, 1, 1));
}

TEST_F(SftDataTest, TheContextBoundsEverySample) {
  config.max_length = std::nullopt;
  EXPECT_EQ(read("{\"text\": \"" + std::string(300, 'x') + "\"}").samples[0].ids.size(), 200u);
  config.max_length = 1000;
  EXPECT_EQ(read("{\"text\": \"" + std::string(300, 'x') + "\"}").samples[0].ids.size(), 200u);
}

TEST_F(SftDataTest, EveryBadLineIsNamed) {
  const std::string what = error(
      "{\"text\": 3}\n{\"text\": \"fine\"}\nnot json\n[1]\n{}\n{\"text\": \"a\", \"prompt\": "
      "\"b\", \"completion\": \"c\"}\n{\"prompt\": \"a\"}\n{\"completion\": \"a\"}\n{\"messages\": "
      "[]}\n{\"prompt\": [{\"role\": \"user\", \"content\": \"x\"}], \"completion\": \"y\"}\n"
      "{\"prompt\": [{\"role\": \"user\", \"content\": \"x\"}], \"completion\": [{\"role\": "
      "\"user\", \"content\": \"y\"}]}\n{\"messages\": [{\"role\": \"tool\", \"content\": "
      "5}]}\n{\"text\": \"\xFF\"}\n{\"prompt\": [5], \"completion\": [6]}\n");
  for (const char* expected :
       {"s.jsonl:1: `text` has to be a text", "s.jsonl:3: is not valid JSON",
        "s.jsonl:4: is not a JSON object", "s.jsonl:5: needs either", "s.jsonl:6: needs either",
        "s.jsonl:7: needs either", "s.jsonl:8: needs either", "s.jsonl:9: `messages` has to be a",
        "s.jsonl:10: `prompt` has to be a text (or both", "s.jsonl:11: completion[0] has to be",
        "s.jsonl:12: messages[0] needs a `content`", "s.jsonl:13: is not valid JSON",
        "s.jsonl:14: prompt[0] needs a text `role`"}) {
    EXPECT_THAT(what, HasSubstr(expected));
  }
  EXPECT_THAT(what, Not(HasSubstr("s.jsonl:2:")));
  config.assistant_only_loss = true;
  EXPECT_THAT(error("{\"text\": \"a\"}"), HasSubstr("needs chat messages"));
}

TEST_F(SftDataTest, BadLinesOfBothFilesAreNamedTogether) {
  write_text(folder_ / "train.jsonl", "{\"text\": \"fine\"}\n{\"text\": 3}\n");
  write_text(folder_ / "eval.jsonl", "{\"text\": \"fine\"}\n[1]\n");
  config.train = folder_ / "train.jsonl";
  config.eval = folder_ / "eval.jsonl";
  try {
    read_sft_data_sets(config, tokenizer(), 200, 1);
    FAIL() << "no error";
  } catch (const FormatError& error) {
    EXPECT_THAT(error.what(), HasSubstr("train.jsonl:2: `text` has to be a text"));
    EXPECT_THAT(error.what(), HasSubstr("\n" + (folder_ / "eval.jsonl").string() + ":2: is not"));
  }
}

TEST_F(SftDataTest, WhatIsWrongWithTheWholeFileIsSaidOnce) {
  EXPECT_THAT(error(""), HasSubstr("holds no samples"));
  EXPECT_THAT(error("{\"text\": \"\"}"),
              HasSubstr("none of its 1 samples has a token to train on"));
  const std::string chat = "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}\n";
  has_template = false;
  EXPECT_THAT(error(chat + chat), HasSubstr("s.jsonl:1: the model has no chat template"));
  EXPECT_THAT(error(chat + chat), Not(HasSubstr("s.jsonl:2")));
  has_eos = false;
  EXPECT_THAT(error("{\"text\": \"a\"}"), HasSubstr("append_eos: false"));
}

TEST_F(SftDataTest, ASplitHoldsOutWhatTheSeedChooses) {
  std::string text;
  for (char c = 'a'; c <= 'j'; ++c) text += fmt::format("{{\"text\": \"x{}\"}}\n", c);
  write_text(folder_ / "s.jsonl", text);
  config.train = folder_ / "s.jsonl";
  config.eval_split = 0.25;
  const auto lines = [&](uint64_t seed) {
    const SftDataSets sets = read_sft_data_sets(config, tokenizer(), 200, seed);
    EXPECT_EQ(sets.train.samples.size(), 7u);
    EXPECT_EQ(sets.train.counts.tokens, 21);
    EXPECT_EQ(sets.eval.counts.lines, 3);
    std::vector<int64_t> held;
    for (const SftSample& sample : sets.eval.samples) held.push_back(sample.line);
    for (const SftSample& sample : sets.train.samples) {
      EXPECT_THAT(held, Not(::testing::Contains(sample.line)));
    }
    return held;
  };
  EXPECT_EQ(lines(1), lines(1));
  EXPECT_NE(lines(1), lines(2));
}

}  // namespace
}  // namespace leash

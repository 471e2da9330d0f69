// Prompts: what is read, what is refused and how it is named, and in which order prompts come.
#include "rl/data/prompts.h"

#include <c10/util/Exception.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>

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

class Prompts : public ::testing::Test {
 protected:
  Tokenizer tokenizer(const std::string& chat_template = "") const {
    write_text(folder_ / "tokenizer.json", byte_tokenizer_json());
    nlohmann::json config = nlohmann::json::object();
    if (!chat_template.empty()) config["chat_template"] = chat_template;
    write_text(folder_ / "tokenizer_config.json", config.dump());
    return Tokenizer::load(folder_.path());
  }
  std::vector<PromptRecord> read(const std::string& text, const std::string& chat_template = "",
                                 const PromptLimits& limits = {.context = 100}) const {
    write_text(folder_ / "p.jsonl", text);
    return read_prompts(folder_ / "p.jsonl", tokenizer(chat_template), limits);
  }
  std::string error(const std::string& text, const std::string& chat_template = "",
                    const PromptLimits& limits = {.context = 100}) const {
    try {
      read(text, chat_template, limits);
    } catch (const FormatError& error) {
      return error.what();
    }
    return "no error";
  }
  ScratchFolder folder_;
};

TEST_F(Prompts, RawTextWithOtherKeysBlankLinesAndWindowsLineEnds) {
  const auto records = read(
      "\xEF\xBB\xBF{\"prompt\": \"ab\", \"id\": 7}\r\n\n  \n{\"prompt\": \"c\\nd\"}\r\n"
      "{\"label\": [1], \"prompt\": \"e\"}");
  ASSERT_EQ(records.size(), 3u);
  EXPECT_THAT((std::vector{records[0].line, records[1].line, records[2].line}),
              ElementsAre(1, 4, 5));
  EXPECT_EQ(records[1].text, "c\nd");
  const Tokenizer same = tokenizer();
  for (const PromptRecord& record : records) {
    EXPECT_EQ(record.ids, same.encode_with_special(record.text));
  }
  EXPECT_EQ(records[0].ids.size(), 2u);
}

TEST_F(Prompts, MessagesGoThroughTheTemplateWithTheGenerationPrompt) {
  const auto records =
      read("{\"messages\": [{\"role\": \"user\", \"content\": \"hi\", \"name\": \"x\"}]}", kChatMl,
           {.max_prompt_length = 90, .context = 100});
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].text, "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
  const std::vector<ChatMessage> chat = {{"user", "hi"}};
  EXPECT_EQ(records[0].ids, encode_chat(tokenizer(kChatMl), chat, true));
}

TEST_F(Prompts, AListAsPromptIsAConversation) {
  const PromptLimits limits{.max_prompt_length = 90, .context = 100};
  const std::string list = "[{\"role\": \"user\", \"content\": \"hi\"}]";
  EXPECT_EQ(read("{\"prompt\": " + list + "}", kChatMl, limits).at(0).ids,
            read("{\"messages\": " + list + "}", kChatMl, limits).at(0).ids);
}

// The last message is refused or continued: "i" is in the template's own markup, too.
TEST_F(Prompts, AConversationThatEndsWithTheAssistant) {
  const std::string line =
      "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}, {\"role\": \"assistant\", "
      "\"content\": \"i\"}]}";
  PromptLimits limits{.max_prompt_length = 90, .context = 100};
  EXPECT_THAT(error(line, kChatMl, limits),
              HasSubstr("p.jsonl:1: the conversation ends with a message of the assistant"));
  limits.continue_final_message = true;
  const std::string text = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\ni";
  const auto records = read(line, kChatMl, limits);
  EXPECT_EQ(records.at(0).text, text);
  EXPECT_EQ(records[0].ids, tokenizer(kChatMl).encode(text));
  // Others get the generation prompt as ever.
  const std::string asked = "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}";
  EXPECT_TRUE(read(asked, kChatMl, limits).at(0).text.ends_with("<|im_start|>assistant\n"));
}

TEST_F(Prompts, BosIsNotGivenTwice) {
  write_text(folder_ / "tokenizer.json", testing::byte_tokenizer_with_template_json());
  write_text(folder_ / "tokenizer_config.json", "{\"bos_token\": \"<|im_start|>\"}");
  write_text(folder_ / "p.jsonl",
             "{\"prompt\": \"<|im_start|>x\"}\n{\"prompt\": \"x\"}\n"
             "{\"prompt\": \"<|im_start|><|im_start|>x\"}\n");
  const auto records =
      read_prompts(folder_ / "p.jsonl", Tokenizer::load(folder_.path()), {.context = 100});
  EXPECT_THAT(records.at(0).ids, ElementsAre(1, 3 + 'x', 2));
  EXPECT_EQ(records.at(1).ids, records[0].ids);
  EXPECT_THAT(records.at(2).ids, ElementsAre(1, 1, 3 + 'x', 2));  // one of them is the text's own
}

TEST_F(Prompts, ATextThatIsTooLongByFarIsNotTokenized) {
  const std::string text(10'000'000, 'x');
  EXPECT_THAT(error("{\"prompt\": \"" + text + "\"}"),
              HasSubstr("p.jsonl:1: 10,000,000 bytes of text do not fit into 99 tokens"));
  EXPECT_THAT(
      error("{\"messages\": [{\"role\": \"user\", \"content\": \"" + text + "\"}]}", kChatMl),
      HasSubstr("p.jsonl:1: 10,000,000 bytes of text"));
}

// Ten bytes are ten tokens.
TEST_F(Prompts, LongerOnesAreRefusedLeftOutOrCut) {
  const std::string text =
      "{\"prompt\": \"abcdefghij\"}\n{\"prompt\": \"klm\"}\n{\"prompt\": \"nopqrs\"}\n";
  PromptLimits limits{.max_prompt_length = 4, .context = 100};
  EXPECT_THAT(error(text, "", limits), HasSubstr("p.jsonl:1: the prompt has 10 tokens"));
  const auto texts = [&](PromptTruncation mode) {
    limits.truncation = mode;
    std::vector<std::string> found;
    for (const PromptRecord& record : read(text, "", limits)) {
      EXPECT_EQ(record.ids, tokenizer().encode(record.text));
      found.push_back(record.text);
    }
    return found;
  };
  EXPECT_THAT(texts(PromptTruncation::drop), ElementsAre("klm"));
  EXPECT_THAT(texts(PromptTruncation::keep_start), ElementsAre("abcd", "klm", "nopq"));
  EXPECT_THAT(texts(PromptTruncation::keep_end), ElementsAre("ghij", "klm", "pqrs"));
  limits = {.max_prompt_length = 512,
            .context = 20,
            .min_answer_tokens = 15,
            .truncation = PromptTruncation::keep_end};  // the context is what is short
  EXPECT_EQ(read(text, "", limits).at(0).text, "fghij");
  limits.truncation = PromptTruncation::drop;
  limits.max_prompt_length = 2;
  EXPECT_THAT(error(text, "", limits), HasSubstr("holds no prompts that are short enough"));
}

TEST_F(Prompts, ACutConversationKeepsItsMessages) {
  const std::string line = "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}";
  const auto whole = read(line, kChatMl, {.max_prompt_length = 90, .context = 100}).at(0);
  const PromptLimits limits{
      .max_prompt_length = 20, .context = 100, .truncation = PromptTruncation::keep_end};
  const auto cut = read(line, kChatMl, limits).at(0);
  ASSERT_EQ(cut.ids.size(), 20u);
  EXPECT_TRUE(std::equal(cut.ids.begin(), cut.ids.end(), whole.ids.end() - 20));
  EXPECT_TRUE(whole.text.ends_with(cut.text)) << cut.text;
  EXPECT_EQ(cut.messages.at(0).content, "hi");
}

TEST_F(Prompts, HeldOutOnesThatAreTrainedOnAreNamed) {
  const auto train = read("{\"prompt\": \"a\"}\n{\"prompt\": \"b\"}\n{\"prompt\": \"c\"}\n");
  const auto held_out = read("{\"prompt\": \"x\"}\n{\"prompt\": \"c\"}\n");
  EXPECT_EQ(leaked_prompts(train, held_out),
            "1 of 2 held-out prompts are in the training data as well (line 2 is line 3 there)");
  EXPECT_EQ(leaked_prompts(train, read("{\"prompt\": \"ab\"}\n")), "");
}

TEST_F(Prompts, EveryBadLineIsNamed) {
  const std::string what = error(
      "{\"prompt\": 3}\n{\"prompt\": \"fine\"}\nnot json\n[1]\n{}\n{\"prompt\": \"a\", "
      "\"messages\": []}\n"
      "{\"messages\": []}\n{\"messages\": [{\"role\": \"user\"}]}\n"
      "{\"messages\": [{\"role\": \"robot\", \"content\": 7}]}\n{\"messages\": [5]}\n"
      "{\"prompt\": \"\xFF\"}\n{\"prompt\": \"\"}\n",
      kChatMl);
  for (const char* expected :
       {"p.jsonl:1: `prompt` has to be a text",
        "p.jsonl:3: is not valid JSON: parse error at column 2", "p.jsonl:4: is not a JSON object",
        "p.jsonl:5: needs either", "p.jsonl:6: needs either",
        "p.jsonl:7: `messages` has to be a list", "p.jsonl:8: messages[0] needs a `content`",
        "p.jsonl:9: messages[0] needs a `content`", "p.jsonl:10: messages[0] needs a text `role`",
        "p.jsonl:11: is not valid JSON", "p.jsonl:12: the prompt has no tokens"}) {
    EXPECT_THAT(what, HasSubstr(expected));
  }
  EXPECT_THAT(what, Not(HasSubstr("p.jsonl:2:")));
}

TEST_F(Prompts, AtMostTwentyProblemsAreListed) {
  std::string text;
  for (int i = 0; i < 30; ++i) text += "x\n";
  const std::string what = error(text);
  EXPECT_EQ(std::count(what.begin(), what.end(), '\n'), 19);
}

TEST_F(Prompts, LengthsAreChecked) {
  const std::string text = "{\"prompt\": \"12345\"}\n{\"prompt\": \"123456\"}\n";
  EXPECT_THAT(error(text, "", {.max_prompt_length = 5, .context = 100}),
              HasSubstr("p.jsonl:2: the prompt has 6 tokens; data.max_prompt_length is 5"));
  EXPECT_THAT(error(text, "", {.context = 9, .min_answer_tokens = 4}),
              HasSubstr("p.jsonl:2: the prompt has 6 tokens and leaves no room for 4 more in the "
                        "context of 9"));
  EXPECT_EQ(error(text, "", {.max_prompt_length = 6, .context = 10, .min_answer_tokens = 4}),
            "no error");
}

TEST_F(Prompts, FilesWithoutPromptsAreErrors) {
  EXPECT_THAT(error(""), HasSubstr("p.jsonl: holds no prompts"));
  EXPECT_THAT(error("\n \r\n"), HasSubstr("holds no prompts"));
  EXPECT_THROW(read_prompts(folder_ / "absent.jsonl", tokenizer(), {.context = 9}), FormatError);
  EXPECT_THROW(read_prompts(folder_.path(), tokenizer(), {.context = 9}), FormatError);
}

TEST_F(Prompts, AMissingTemplateIsSaidOnceAtTheFirstLineThatNeedsIt) {
  const std::string chat = "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}\n";
  const std::string what = error("{\"prompt\": \"messages\"}\n" + chat + chat);
  EXPECT_THAT(what, HasSubstr("p.jsonl:2:"));
  EXPECT_THAT(what, Not(HasSubstr("p.jsonl:3:")));
  EXPECT_EQ(error("{\"prompt\": \"messages\"}\n"), "no error");
}

TEST(PromptOrder, EpochsArePermutationsThatDependOnSeedAndEpochAlone) {
  const PromptOrder order(10, true, 42);
  const auto epochs = order.next(0, 20);
  const std::vector<int64_t> first(epochs.begin(), epochs.begin() + 10);
  const std::vector<int64_t> second(epochs.begin() + 10, epochs.end());
  std::vector<int64_t> all(10);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_TRUE(std::is_permutation(first.begin(), first.end(), all.begin()));
  EXPECT_TRUE(std::is_permutation(second.begin(), second.end(), all.begin()));
  EXPECT_NE(first, second);
  EXPECT_NE(first, all);
  EXPECT_NE(PromptOrder(10, true, 43).next(0, 10), first);
  EXPECT_EQ(PromptOrder(10, true, 42).next(10, 10), second);
}

TEST(PromptOrder, BatchesContinueWhereTheLastEndedAcrossEpochs) {
  const PromptOrder order(7, true, 5);
  const auto whole = order.next(0, 30);
  std::vector<int64_t> pieces;
  for (const int64_t size : {3, 6, 0, 16, 5}) {
    const auto batch = order.next(static_cast<int64_t>(pieces.size()), size);
    pieces.insert(pieces.end(), batch.begin(), batch.end());
  }
  EXPECT_EQ(pieces, whole);
}

TEST(PromptOrder, KeepsTheFilesOrderWithoutShuffling) {
  EXPECT_THAT(PromptOrder(3, false, 1).next(2, 5), ElementsAre(2, 0, 1, 2, 0));
  EXPECT_THROW(PromptOrder(0, false, 1), c10::Error);
  EXPECT_THROW(PromptOrder(3, false, 1).next(-1, 1), c10::Error);
}

}  // namespace
}  // namespace leash

// Which templates are known, and what becomes of those that are not.
#include "models/tokenizer/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/models/tokenizer/tiny.h"
#include "tests/support/files.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

TEST(ChatTemplate, Smollm2IsRecognisedAndEncodes) {
  const Tokenizer tokenizer = Tokenizer::load(smollm2());
  const std::vector<ChatMessage> messages{{"user", "Hi"}};
  const std::string text = render_chat(tokenizer.chat_template(), messages, true);
  EXPECT_EQ(text,
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
            "Face<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  const auto ids = encode_chat(tokenizer, messages, true);
  EXPECT_EQ(ids, tokenizer.encode(text));
  EXPECT_EQ(ids.front(), 1);  // and no second BOS before it
  EXPECT_EQ(tokenizer.decode(ids), text);
}

TEST(ChatTemplate, OtherTemplatesAreRefusedWithTheirFirstLine) {
  const std::vector<ChatMessage> messages{{"user", "Hi"}};
  const auto error = [&](const std::string& text) {
    return format_error([&] { render_chat(text, messages, true); });
  };
  EXPECT_THAT(error("{{ bos_token }}first\nsecond"), HasSubstr("'{{ bos_token }}first'"));
  EXPECT_THAT(error(std::string(100'000, 'z')), HasSubstr("zzz"));
  EXPECT_LT(error(std::string(100'000, 'z')).size(), 500U);
  EXPECT_THAT(error(""), HasSubstr("no chat template"));
  // One character more than a known one.
  const Tokenizer tokenizer = Tokenizer::load(smollm2());
  EXPECT_EQ(error(tokenizer.chat_template()), "");
  EXPECT_NE(error(tokenizer.chat_template() + " "), "");
  EXPECT_NE(error(tokenizer.chat_template() + "\n\n"), "");
}

TEST(ChatTemplate, UnknownRolesAreRefused) {
  const Tokenizer tokenizer = Tokenizer::load(smollm2());
  for (const char* role : {"", "User", "tool", "assistant\n"}) {
    const std::vector<ChatMessage> messages{{"user", "Hi"}, {role, "x"}};
    EXPECT_THAT(format_error([&] { encode_chat(tokenizer, messages, true); }), HasSubstr("role"));
  }
}

}  // namespace
}  // namespace leash::testing

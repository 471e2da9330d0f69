// What a reward model reads of a prompt and its answer.
#include "rl/reward/sequence.h"

#include <gtest/gtest.h>

#include "tests/support/files.h"
#include "tests/support/tiny_folder.h"

namespace leash {
namespace {

class RewardSequence : public ::testing::Test {
 protected:
  RewardSequence() { testing::write_tiny_folder(folder_.path()); }
  std::string foreign(const std::vector<ChatMessage>& messages, bool ended) const {
    const Tokenizer tokenizer = Tokenizer::load(folder_.path());
    const auto ids = foreign_sequence({.answer = " 4", .ended = ended, .messages = messages},
                                      tokenizer, {.append_eos = true});
    return tokenizer.decode(ids, /*skip_special=*/false);
  }
  testing::ScratchFolder folder_;
};

TEST_F(RewardSequence, AConversationIsReadThroughItsTemplate) {
  const std::vector<ChatMessage> asked = {{"user", "2+2?"}};
  const std::string begin = "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n 4";
  EXPECT_EQ(foreign(asked, true), begin + "<|im_end|>");
  EXPECT_EQ(foreign(asked, false), begin);
}

// With data.continue_final_message the answer is the rest of one message, not another one.
TEST_F(RewardSequence, AnAnswerMayGoOnWithWhatTheAssistantHadBegun) {
  const std::vector<ChatMessage> begun = {{"user", "2+2?"}, {"assistant", "It is"}};
  const std::string begin = "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\nIt is 4";
  EXPECT_EQ(foreign(begun, true), begin + "<|im_end|>");
  EXPECT_EQ(foreign(begun, false), begin);
}

}  // namespace
}  // namespace leash

// What a source of reward is told about an answer.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/tokenizer/chat_template.h"

namespace leash {

// A prompt and its answer, as text and as the policy's tokens.
struct RewardSample {
  std::string prompt{};  // as the policy read it, chat markup included
  std::string answer{};  // without the token or text that ended it
  std::vector<int64_t> prompt_ids{};
  std::vector<int64_t> token_ids{};     // of the answer, with the token that ended it
  bool ended = false;                   // by itself, not by the length
  std::vector<ChatMessage> messages{};  // the prompt's, where it is a conversation
  ChatOptions options{};                // likewise
  // The prompt's whole record; none where it came from no file.
  std::shared_ptr<const nlohmann::ordered_json> row{};
  int64_t step = 0;  // of the run, from 1 on; of held-out answers the policy's (0: untrained)
};

}  // namespace leash

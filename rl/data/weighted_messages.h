// Messages of which some are not trained on.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "models/tokenizer/chat_template.h"

namespace leash {

struct WeightedMessages {
  std::vector<ChatMessage> messages;
  std::vector<bool> trains;  // of each message: false where its `weight` is 0

  void append(const WeightedMessages& more);
};

// A list of {role, content} with an optional `weight`, 1 (the default) or 0, as in OpenAI's format;
// `name` is its key. FormatError.
WeightedMessages weighted_messages(const nlohmann::ordered_json& list, std::string_view name);

}  // namespace leash

// Which tokens of a rendered conversation the assistant says.
#pragma once

#include <cstdint>
#include <vector>

#include "models/tokenizer/chat_template.h"

namespace leash {

struct MaskedChat {
  std::vector<int64_t> ids;
  std::vector<uint8_t> assistant;  // per token: 1 where the assistant says it
};

// From {% generation %} where the template has it and it holds something. Else, of each message of
// the assistant: from behind the generation prompt (what the template renders for it without the
// message) to the token that ends the turn, the first special one behind its words. FormatError
// where there are messages of the assistant and the template renders none of them.
MaskedChat encode_with_mask(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                            bool add_generation_prompt, const ChatOptions& options = {});

// The same for a row of variables (ChatFormat::render_row), rendered as `chat`.
MaskedChat mask_of_row(const Tokenizer& tokenizer, const nlohmann::ordered_json& row,
                       const RenderedChat& chat);

}  // namespace leash

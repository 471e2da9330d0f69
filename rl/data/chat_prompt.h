// A conversation as a prompt.
#pragma once

#include <span>
#include <string>

#include "models/tokenizer/chat_template.h"

namespace leash {

// The conversation through the checkpoint's template up to where the model goes on: behind the
// generation prompt, or, where the last message is the assistant's, behind its text (as TRL does;
// the rest of it is the answer). The latter only with `continue_final_message`: a policy would
// else learn to answer its own answer. FormatError.
RenderedChat render_prompt(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                           bool continue_final_message, const ChatOptions& options = {});

}  // namespace leash

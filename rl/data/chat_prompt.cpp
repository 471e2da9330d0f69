#include "rl/data/chat_prompt.h"

#include <string_view>
#include <vector>

#include "models/errors.h"

namespace leash {
namespace {

// Stands behind the last message while it is rendered: what the template puts there comes after it.
constexpr std::string_view kEnd = "\x01leash goes on here\x01";

}  // namespace

std::string render_prompt(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                          bool continue_final_message) {
  if (messages.empty() || messages.back().role != "assistant") {
    return render_chat(tokenizer.chat_template(), messages, /*add_generation_prompt=*/true);
  }
  if (!continue_final_message) {
    throw FormatError(
        "the conversation ends with a message of the assistant, which leaves nothing to answer "
        "(continue_final_message goes on with that message)");
  }
  if (messages.back().content.empty()) {
    throw FormatError("the last message is the assistant's and empty: nothing to continue");
  }
  std::vector<ChatMessage> marked(messages.begin(), messages.end());
  marked.back().content += kEnd;
  std::string text =
      render_chat(tokenizer.chat_template(), marked, /*add_generation_prompt=*/false);
  const size_t end = text.rfind(kEnd);
  if (end == std::string::npos) throw FormatError("the chat template leaves out the last message");
  text.resize(end);
  return text;
}

}  // namespace leash

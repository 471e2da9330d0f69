#include "rl/data/chat_prompt.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "models/errors.h"

namespace leash {
namespace {

// Stands behind the last message while it is rendered: what the template puts there comes after it.
constexpr std::string_view kEnd = "\x01leash goes on here\x01";

}  // namespace

RenderedChat render_prompt(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                           bool continue_final_message, const ChatOptions& options) {
  if (messages.empty() || messages.back().role != "assistant") {
    return render_chat(tokenizer, messages, /*add_generation_prompt=*/true, options);
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
  marked.back().append(std::string(kEnd));
  RenderedChat chat = render_chat(tokenizer, marked, /*add_generation_prompt=*/false, options);
  const size_t end = chat.text.rfind(kEnd);
  if (end == std::string::npos) throw FormatError("the chat template leaves out the last message");
  chat.text.resize(end);
  std::erase_if(chat.foreign, [&](const ByteRange& range) { return range.begin >= end; });
  for (ByteRange& range : chat.foreign) range.end = std::min(range.end, end);
  return chat;
}

}  // namespace leash

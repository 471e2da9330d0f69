#include "rl/data/answer_encoder.h"

#include <fmt/format.h>

#include "models/errors.h"
#include "rl/data/encode.h"
#include "rl/data/jsonl.h"

namespace leash {

std::vector<int64_t> AnswerEncoder::whole(const std::string& text) const {
  std::vector<int64_t> ids = encode_text(tokenizer_, text);
  end_text(ending_, tokenizer_, ids);
  if (ids.empty()) throw FormatError("a text without a token has no score");
  return ids;
}

std::vector<int64_t> AnswerEncoder::whole(std::span<const ChatMessage> messages,
                                          size_t first_answer, const char* name,
                                          const ChatOptions& options, std::string& display) const {
  if (messages.size() == first_answer || messages.back().role != "assistant") {
    throw FormatError(fmt::format("`{}` has to end with a message of the assistant", name));
  }
  for (const ChatMessage& message : messages.subspan(first_answer)) {
    display += (display.empty() ? "" : "\n") + message.content;
  }
  std::vector<int64_t> ids =
      encode_chat(tokenizer_, messages, /*add_generation_prompt=*/false, options);
  end_conversation(ending_, tokenizer_, ids);
  return ids;
}

std::vector<int64_t> AnswerEncoder::prompt(const std::string& text) const {
  return encode_text(tokenizer_, text);
}

std::vector<int64_t> AnswerEncoder::prompt(std::span<const ChatMessage> messages,
                                           const ChatOptions& options) const {
  if (messages.empty()) return {};
  return encode_chat(tokenizer_, messages, /*add_generation_prompt=*/true, options);
}

std::string conversation_key(std::span<const ChatMessage> prompt, std::string& display) {
  auto key = nlohmann::ordered_json::array();
  for (const ChatMessage& message : prompt) {
    key.push_back(message.json());
    if (message.role == "user") display = message.content;
  }
  return key.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

bool flag_of(const nlohmann::ordered_json& record, const char* key) {
  const auto found = record.find(key);
  if (found == record.end() || found->is_null()) return false;
  if (!found->is_boolean()) throw FormatError(fmt::format("`{}` has to be true or false", key));
  return found->get<bool>();
}

}  // namespace leash

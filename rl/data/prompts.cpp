// Reading prompts, with every bad line named.
#include "rl/data/prompts.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "models/errors.h"
#include "models/random/random.h"
#include "models/tokenizer/chat_template.h"
#include "rl/data/chat_prompt.h"
#include "rl/data/encode.h"
#include "rl/data/jsonl.h"

namespace leash {
namespace {

using Json = nlohmann::ordered_json;

PromptRecord chat_record(const std::vector<ChatMessage>& chat, ChatOptions options,
                         const Tokenizer& tokenizer, const PromptLimits& limits) {
  check_chat_template(tokenizer);
  PromptRecord record;
  record.messages = chat;
  record.options = std::move(options);
  RenderedChat rendered =
      render_prompt(tokenizer, chat, limits.continue_final_message, record.options);
  for (const ChatMessage& message : chat) {
    if (message.role == "user") record.display = message.content;
  }
  record.ids = encode_rendered(tokenizer, rendered);
  record.text = std::move(rendered.text);
  return record;
}

PromptRecord record_of(const Json& json, const Tokenizer& tokenizer, const PromptLimits& limits,
                       const TextBound& bound) {
  const auto prompt = json.find("prompt");
  const auto messages = json.find("messages");
  if ((prompt == json.end()) == (messages == json.end())) {
    throw FormatError("needs either `prompt` or `messages`");
  }
  if (prompt == json.end() || prompt->is_array()) {
    const auto chat =
        prompt == json.end() ? messages_of(*messages, "messages") : messages_of(*prompt, "prompt");
    bound.check(chat);
    return chat_record(chat, chat_options_of(json), tokenizer, limits);
  }
  if (!prompt->is_string()) throw FormatError("`prompt` has to be a text, or a list of messages");
  PromptRecord record;
  record.text = prompt->get<std::string>();
  bound.check(record.text);
  record.display = record.text;
  record.ids = encode_text(tokenizer, record.text);
  return record;
}

void check_length(const PromptRecord& record, const PromptLimits& limits) {
  const auto length = static_cast<int64_t>(record.ids.size());
  if (length == 0) throw FormatError("the prompt has no tokens");
  if (length > limits.max_prompt_length) {
    throw FormatError(fmt::format("the prompt has {} tokens; data.max_prompt_length is {}", length,
                                  limits.max_prompt_length));
  }
  if (length > limits.context - limits.min_answer_tokens) {
    throw FormatError(
        fmt::format("the prompt has {} tokens and leaves no room for {} more in the "
                    "context of {}",
                    length, limits.min_answer_tokens, limits.context));
  }
}

}  // namespace

std::vector<PromptRecord> read_prompts(const std::filesystem::path& file,
                                       const Tokenizer& tokenizer, const PromptLimits& limits) {
  std::vector<PromptRecord> records;
  const TextBound bound(
      tokenizer, std::min(limits.max_prompt_length, limits.context - limits.min_answer_tokens));
  for_each_json_line(file, {{"prompt", "messages", "tools", "chat_template_kwargs"}},
                     [&](const Json& json, int64_t line) {
                       PromptRecord record = record_of(json, tokenizer, limits, bound);
                       check_length(record, limits);
                       record.line = line;
                       records.push_back(std::move(record));
                     });
  if (records.empty()) throw FormatError(file.string() + ": holds no prompts");
  return records;
}

PromptOrder::PromptOrder(int64_t num_prompts, bool shuffle, uint64_t seed)
    : num_prompts_(num_prompts), shuffle_(shuffle), seed_(seed) {
  TORCH_CHECK(num_prompts > 0, "an order needs prompts");
}

std::vector<int64_t> PromptOrder::next(int64_t consumed, int64_t count) const {
  TORCH_CHECK(consumed >= 0 && count >= 0, "counts of prompts are not negative");
  std::vector<int64_t> result;
  result.reserve(count);
  while (static_cast<int64_t>(result.size()) < count) {
    const int64_t position = consumed + static_cast<int64_t>(result.size());
    const int64_t epoch = position / num_prompts_;
    std::vector<int64_t> order(num_prompts_);
    std::iota(order.begin(), order.end(), 0);
    if (shuffle_) {
      order = draw_permutation(
          {.seed = seed_, .purpose = Purpose::shuffle, .a = static_cast<uint64_t>(epoch)},
          num_prompts_);
    }
    for (int64_t i = position % num_prompts_;
         i < num_prompts_ && static_cast<int64_t>(result.size()) < count; ++i) {
      result.push_back(order[i]);
    }
  }
  return result;
}

}  // namespace leash

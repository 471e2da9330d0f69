// Reading prompts, with every bad line named.
#include "rl/data/prompts.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "models/errors.h"
#include "models/random/random.h"
#include "models/tokenizer/chat_template.h"
#include "rl/data/chat_prompt.h"
#include "rl/data/cut_text.h"
#include "rl/data/data_warning.h"
#include "rl/data/encode.h"
#include "rl/data/jsonl.h"

namespace leash {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kMostCutTokens = 1 << 20;

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

// The ids of a longer prompt as limits.truncation leaves them, and its text.
void cut(PromptRecord& record, const Tokenizer& tokenizer, const PromptLimits& limits) {
  const bool keep_start = limits.truncation == PromptTruncation::keep_start;
  if (record.messages.empty()) {
    const auto mode = keep_start ? TruncationMode::keep_start : TruncationMode::keep_end;
    record.ids = cut_text(tokenizer, record.text, {limits.longest(), mode}).ids;
  } else if (keep_start) {
    record.ids.resize(static_cast<size_t>(limits.longest()));
  } else {
    record.ids.erase(record.ids.begin(), record.ids.end() - limits.longest());
  }
  record.text = tokenizer.decode(record.ids, /*skip_special=*/record.messages.empty());
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
  const bool refuses = limits.truncation == PromptTruncation::error || limits.longest() < 1;
  // What is cut has to be tokenized to its end.
  const TextBound bound(tokenizer, refuses ? limits.longest() : kMostCutTokens);
  int64_t longer = 0;
  KnownKeys known{.record = {"prompt", "messages", "tools", "chat_template_kwargs"},
                  .any = limits.any_column};
  known.record.insert(known.record.end(), limits.columns.begin(), limits.columns.end());
  for_each_json_line(file, known, [&](const Json& json, int64_t line) {
    PromptRecord record = record_of(json, tokenizer, limits, bound);
    if (!refuses && std::ssize(record.ids) > limits.longest()) {
      ++longer;
      if (limits.truncation == PromptTruncation::drop) return;
      cut(record, tokenizer, limits);
    }
    check_length(record, limits);
    record.line = line;
    record.row = std::make_shared<const Json>(json);
    records.push_back(std::move(record));
  });
  if (records.empty()) {
    throw FormatError(file.string() + (longer > 0 ? ": holds no prompts that are short enough"
                                                  : ": holds no prompts"));
  }
  if (longer > 0) {
    data_warning(fmt::format(
        "{}: {} of {} prompts have more than {} tokens and are {}", file.string(), longer,
        std::ssize(records) + (limits.truncation == PromptTruncation::drop ? longer : 0),
        limits.longest(),
        limits.truncation == PromptTruncation::drop ? "left out" : "cut to them"));
  }
  return records;
}

std::string leaked_prompts(const std::vector<PromptRecord>& train,
                           const std::vector<PromptRecord>& held_out) {
  std::map<std::vector<int64_t>, int64_t> lines;
  for (const PromptRecord& prompt : train) lines.emplace(prompt.ids, prompt.line);
  int64_t leaked = 0;
  std::string first;
  for (const PromptRecord& prompt : held_out) {
    const auto found = lines.find(prompt.ids);
    if (found == lines.end()) continue;
    if (++leaked == 1) first = fmt::format("line {} is line {} there", prompt.line, found->second);
  }
  if (leaked == 0) return "";
  return fmt::format("{} of {} held-out prompts are in the training data as well ({})", leaked,
                     held_out.size(), first);
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

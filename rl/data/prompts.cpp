// Reading prompts, with every bad line named.
#include "rl/data/prompts.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string_view>

#include "models/errors.h"
#include "models/random.h"
#include "models/tokenizer/chat_template.h"

namespace leash {
namespace {

using Json = nlohmann::json;
constexpr size_t kMaxProblems = 20;

std::string read_file(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream || std::filesystem::is_directory(file)) {
    throw FormatError(file.string() + ": cannot be read");
  }
  std::string text{std::istreambuf_iterator<char>(stream), {}};
  if (stream.bad()) throw FormatError(file.string() + ": reading failed");
  return text;
}

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

ChatMessage message_of(const Json& entry, size_t index) {
  const auto text = [&](const char* key) {
    const auto found = entry.is_object() ? entry.find(key) : entry.end();
    if (!entry.is_object() || found == entry.end() || !found->is_string()) {
      throw FormatError(fmt::format("messages[{}] needs a text `{}`", index, key));
    }
    return found->get<std::string>();
  };
  ChatMessage message{text("role"), text("content")};
  if (message.role != "system" && message.role != "user" && message.role != "assistant") {
    throw FormatError(fmt::format("messages[{}]: role \"{}\" is not system, user or assistant",
                                  index, message.role));
  }
  return message;
}

std::vector<ChatMessage> messages_of(const Json& list) {
  if (!list.is_array() || list.empty()) {
    throw FormatError("`messages` has to be a list with at least one message");
  }
  std::vector<ChatMessage> messages;
  for (size_t i = 0; i < list.size(); ++i) messages.push_back(message_of(list[i], i));
  return messages;
}

Json parse(std::string_view line) {
  try {
    Json record = Json::parse(line);
    if (!record.is_object()) throw FormatError("is not a JSON object");
    return record;
  } catch (const Json::parse_error& error) {
    throw FormatError(fmt::format("is not valid JSON (at byte {})", error.byte));
  }
}

// The checkpoint's template cannot be rendered: said once, not for each line.
class TemplateError : public FormatError {
  using FormatError::FormatError;
};

void check_template(const Tokenizer& tokenizer) {
  const ChatMessage probe{"user", "?"};
  try {
    render_chat(tokenizer.chat_template(), {&probe, 1}, /*add_generation_prompt=*/true);
  } catch (const FormatError& error) {
    throw TemplateError(error.what());
  }
}

PromptRecord record_of(const Json& json, const Tokenizer& tokenizer) {
  const auto prompt = json.find("prompt");
  const auto messages = json.find("messages");
  if ((prompt == json.end()) == (messages == json.end())) {
    throw FormatError("needs either `prompt` or `messages`");
  }
  PromptRecord record;
  if (prompt != json.end()) {
    if (!prompt->is_string()) throw FormatError("`prompt` has to be a text");
    record.text = prompt->get<std::string>();
    record.display = record.text;
    record.ids = tokenizer.encode_with_special(record.text);
  } else {
    const std::vector<ChatMessage> chat = messages_of(*messages);
    check_template(tokenizer);
    record.text = render_chat(tokenizer.chat_template(), chat, /*add_generation_prompt=*/true);
    for (const ChatMessage& message : chat) {
      if (message.role == "user") record.display = message.content;
    }
    record.ids = encode_chat(tokenizer, chat, /*add_generation_prompt=*/true);
  }
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
  const std::string text = read_file(file);
  std::string_view rest = text;
  if (rest.starts_with("\xEF\xBB\xBF")) rest.remove_prefix(3);
  std::vector<PromptRecord> records;
  std::vector<std::string> problems;
  for (int64_t line = 1; !rest.empty() && problems.size() < kMaxProblems; ++line) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view content = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (is_blank(content)) continue;
    try {
      PromptRecord record = record_of(parse(content), tokenizer);
      check_length(record, limits);
      record.line = line;
      records.push_back(std::move(record));
    } catch (const TemplateError& error) {
      throw FormatError(fmt::format("{}:{}: {}", file.string(), line, error.what()));
    } catch (const FormatError& error) {
      problems.push_back(fmt::format("{}:{}: {}", file.string(), line, error.what()));
    }
  }
  if (!problems.empty()) throw FormatError(fmt::format("{}", fmt::join(problems, "\n")));
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

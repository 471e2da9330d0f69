#include "rl/data/jsonl.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>

namespace leash {
namespace {

using Json = nlohmann::json;
constexpr size_t kMaxProblems = 20;

std::string read_file(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream || std::filesystem::is_directory(file)) {
    throw FormatError(file.string() + (std::filesystem::exists(file) ? ": cannot be read"
                                                                     : ": there is no such file"));
  }
  std::string text{std::istreambuf_iterator<char>(stream), {}};
  if (stream.bad()) throw FormatError(file.string() + ": reading failed");
  return text;
}

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
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

ChatMessage message_of(const Json& entry, std::string_view name, size_t index) {
  const auto text = [&](const char* key) {
    const auto found = entry.is_object() ? entry.find(key) : entry.end();
    if (!entry.is_object() || found == entry.end() || !found->is_string()) {
      throw FormatError(fmt::format("{}[{}] needs a text `{}`", name, index, key));
    }
    return found->get<std::string>();
  };
  ChatMessage message{text("role"), text("content")};
  if (message.role != "system" && message.role != "user" && message.role != "assistant") {
    throw FormatError(fmt::format("{}[{}]: role \"{}\" is not system, user or assistant", name,
                                  index, message.role));
  }
  return message;
}

}  // namespace

void for_each_json_line(const std::filesystem::path& file,
                        const std::function<void(const Json&, int64_t)>& take) {
  const std::string text = read_file(file);
  std::string_view rest = text;
  if (rest.starts_with("\xEF\xBB\xBF")) rest.remove_prefix(3);
  std::vector<std::string> problems;
  for (int64_t line = 1; !rest.empty() && problems.size() < kMaxProblems; ++line) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view content = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (is_blank(content)) continue;
    try {
      take(parse(content), line);
    } catch (const WholeFileError& error) {
      throw FormatError(fmt::format("{}:{}: {}", file.string(), line, error.what()));
    } catch (const FormatError& error) {
      problems.push_back(fmt::format("{}:{}: {}", file.string(), line, error.what()));
    }
  }
  if (!problems.empty()) throw FormatError(fmt::format("{}", fmt::join(problems, "\n")));
}

void read_both(const std::function<void()>& train, const std::function<void()>& held_out) {
  std::vector<std::string> problems;
  for (const auto* read : {&train, &held_out}) {
    try {
      (*read)();
    } catch (const FormatError& error) {
      problems.emplace_back(error.what());
    }
  }
  if (!problems.empty()) throw FormatError(fmt::format("{}", fmt::join(problems, "\n")));
}

std::vector<ChatMessage> messages_of(const Json& list, std::string_view name) {
  if (!list.is_array() || list.empty()) {
    throw FormatError(fmt::format("`{}` has to be a list with at least one message", name));
  }
  std::vector<ChatMessage> messages;
  for (size_t i = 0; i < list.size(); ++i) messages.push_back(message_of(list[i], name, i));
  return messages;
}

void check_chat_template(const Tokenizer& tokenizer) {
  const ChatMessage probe{"user", "?"};
  try {
    render_chat(tokenizer.chat_template(), {&probe, 1}, /*add_generation_prompt=*/true);
  } catch (const FormatError& error) {
    throw WholeFileError(error.what());
  }
}

}  // namespace leash

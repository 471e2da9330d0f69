#include "rl/data/jsonl.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <utility>

#include "models/io/json_file.h"
#include "rl/data/data_warning.h"
#include "rl/data/foreign_format.h"

namespace leash {
namespace {

using Json = nlohmann::ordered_json;
constexpr size_t kMaxProblems = 20;

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

// The parser counts the lines of what it gets, which is one.
std::string without_line(std::string message) {
  constexpr std::string_view kLine = "line 1, ";
  if (const size_t at = message.find(kLine); at != message.npos) message.erase(at, kLine.size());
  return message;
}

// Hands records over, and keeps what is wrong with them.
class RecordReader {
 public:
  RecordReader(const std::string& file, const TakeRecord& take, KnownKeys known)
      : file_(file), take_(take), keys_(std::move(known)) {}

  void read(std::string_view line, int64_t number) {
    Json record;
    try {
      record = parse_ordered_json(line, place(number));
    } catch (const FormatError& error) {
      problems_.push_back(without_line(error.what()));
      return;
    }
    if (!record.is_object()) return add(number, "is not a JSON object");
    keys_.look_at(record, number);
    try {
      take_(record, number);
    } catch (const WholeFileError& error) {
      throw FormatError(fmt::format("{}: {}", place(number), error.what()));
    } catch (const FormatError& error) {
      add(number, error.what());
    }
  }
  void add(int64_t number, std::string_view what) {
    problems_.push_back(fmt::format("{}: {}", place(number), what));
  }
  bool full() const { return problems_.size() >= kMaxProblems; }
  void finish() const {
    if (!problems_.empty()) throw FormatError(fmt::format("{}", fmt::join(problems_, "\n")));
    if (const std::string keys = keys_.text(); !keys.empty()) {
      data_warning(fmt::format("{}: nothing here reads {}", file_, keys));
    }
  }

 private:
  std::string place(int64_t number) const { return fmt::format("{}:{}", file_, number); }

  const std::string& file_;
  const TakeRecord& take_;
  UnknownKeys keys_;
  std::vector<std::string> problems_;
};

// All text of a content: itself, or its parts of the type text put together.
std::string text_of_content(const Json& content) {
  if (content.is_string()) return content.get<std::string>();
  std::string text;
  if (!content.is_array()) return text;
  for (const Json& part : content) {
    const auto found = part.is_object() ? part.find("text") : part.end();
    if (part.is_object() && found != part.end() && found->is_string()) {
      text += found->get<std::string>();
    }
  }
  return text;
}

bool is_content(const Json& content) {
  const auto is_part = [](const Json& part) { return part.is_object() || part.is_string(); };
  return content.is_null() || content.is_string() ||
         (content.is_array() && std::ranges::all_of(content, is_part));
}

ChatMessage message_of(const Json& entry, std::string_view name, size_t index) {
  const auto role = entry.is_object() ? entry.find("role") : entry.end();
  if (!entry.is_object() || role == entry.end() || !role->is_string()) {
    throw FormatError(fmt::format("{}[{}] needs a text `role`", name, index));
  }
  const auto content = entry.find("content");
  const bool calls = entry.contains("tool_calls");
  if (content == entry.end() ? !calls : !is_content(*content) || (content->is_null() && !calls)) {
    throw FormatError(
        fmt::format("{}[{}] needs a `content`: a text, or a list of parts with texts (none beside "
                    "tool_calls)",
                    name, index));
  }
  ChatMessage message{role->get<std::string>(),
                      content == entry.end() ? "" : text_of_content(*content)};
  const bool plain = entry.size() == 2 && content != entry.end() && content->is_string();
  if (!plain) message.whole = entry;
  return message;
}

}  // namespace

void for_each_json_line(LineReader& lines, KnownKeys known, EmptyLines empty,
                        const TakeRecord& take) {
  if (const auto format = foreign_format(lines.head()); !format.empty()) {
    throw FormatError(fmt::format("{}: {}", lines.name(), format));
  }
  RecordReader records(lines.name(), take, std::move(known));
  int64_t first_empty = 0;  // of those behind the last record
  std::string line;
  while (!records.full() && lines.next(line)) {
    std::string_view content = line;
    if (lines.number() == 1 && content.starts_with("\xEF\xBB\xBF")) content.remove_prefix(3);
    if (is_blank(content)) {
      if (first_empty == 0) first_empty = lines.number();
      continue;
    }
    if (first_empty > 0 && empty == EmptyLines::refused) records.add(first_empty, "is empty");
    first_empty = 0;
    records.read(content, lines.number());
  }
  records.finish();
}

void for_each_json_line(const std::filesystem::path& file, KnownKeys known,
                        const TakeRecord& take) {
  LineReader lines(file);
  for_each_json_line(lines, std::move(known), EmptyLines::skipped, take);
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
  try {
    tokenizer.chat().check();
  } catch (const FormatError& error) {
    throw WholeFileError(error.what());
  }
}

ChatOptions chat_options_of(const Json& record) {
  ChatOptions options;
  if (const auto tools = record.find("tools"); tools != record.end() && !tools->is_null()) {
    options.tools = *tools;
    // Data sets that are kept in tables hold the list as a text.
    if (tools->is_string())
      options.tools = parse_ordered_json(tools->get<std::string>(), "`tools`");
    if (!options.tools.is_array()) throw FormatError("`tools` has to be a list");
  }
  if (const auto kwargs = record.find("chat_template_kwargs");
      kwargs != record.end() && !kwargs->is_null()) {
    if (!kwargs->is_object()) throw FormatError("`chat_template_kwargs` has to be an object");
    options.kwargs = *kwargs;
  }
  return options;
}

}  // namespace leash

#include "experiments/cli/input.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>

#include "models/errors.h"
#include "models/tokenizer/chat_template.h"
#include "rl/data/encode.h"

namespace leash::cli {
namespace {

using nlohmann::json;

constexpr size_t kMaxProblems = 20;

// What is wrong with one line; becomes "file:line: …".
struct LineError {
  std::string problem;
};

std::string_view key_of(InputKind kind) {
  switch (kind) {
    case InputKind::prompt:
      return "prompt";
    case InputKind::messages:
      return "messages";
    case InputKind::text:
      return "text";
    case InputKind::token_ids:
      return "token_ids";
    case InputKind::completion:
      return "completion";
  }
  return "?";
}

json parse_object(const std::string& line) {
  json object;
  try {
    object = json::parse(line);
  } catch (const json::parse_error& error) {
    throw LineError{fmt::format("not JSON (byte {})", error.byte)};
  }
  if (!object.is_object()) throw LineError{"not a JSON object"};
  return object;
}

InputKind kind_of(const json& object, const InputRules& rules) {
  std::vector<InputKind> found;
  std::vector<std::string> wanted;
  for (const InputKind kind : rules.kinds) {
    if (object.contains(key_of(kind))) found.push_back(kind);
    wanted.push_back(fmt::format("\"{}\"", key_of(kind)));
  }
  if (found.size() != 1) {
    throw LineError{fmt::format("{} of {}", found.empty() ? "needs one" : "has more than one",
                                fmt::join(wanted, ", "))};
  }
  return found.front();
}

std::string string_at(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) {
    throw LineError{fmt::format("\"{}\" must be a text", key)};
  }
  return found->get<std::string>();
}

std::vector<ChatMessage> messages_at(const json& list) {
  if (!list.is_array() || list.empty()) {
    throw LineError{"\"messages\" must be a list of {\"role\", \"content\"}"};
  }
  std::vector<ChatMessage> messages;
  for (const json& message : list) {
    if (!message.is_object()) throw LineError{"a message must be {\"role\", \"content\"}"};
    ChatMessage next{string_at(message, "role"), string_at(message, "content")};
    if (next.role != "system" && next.role != "user" && next.role != "assistant") {
      throw LineError{fmt::format("role `{}` is none of system, user, assistant", next.role)};
    }
    messages.push_back(std::move(next));
  }
  return messages;
}

std::vector<int64_t> ids_at(const json& list, int64_t vocab_size) {
  if (!list.is_array()) throw LineError{"\"token_ids\" must be a list of integers"};
  std::vector<int64_t> ids;
  ids.reserve(list.size());
  for (const json& entry : list) {
    if (!entry.is_number_integer()) throw LineError{"\"token_ids\" must be a list of integers"};
    // A number above int64's range is unsigned for the parser and must not wrap.
    const bool huge = entry.is_number_unsigned() && entry.get<uint64_t>() > INT64_MAX;
    if (huge || entry.get<int64_t>() < 0 || entry.get<int64_t>() >= vocab_size) {
      throw LineError{fmt::format("token id {} is out of range (the vocabulary has {} tokens)",
                                  entry.dump(), vocab_size)};
    }
    ids.push_back(entry.get<int64_t>());
  }
  return ids;
}

std::vector<int64_t> encode_prompt(const std::string& prompt, bool chat,
                                   const Tokenizer& tokenizer) {
  if (!chat) return tokenizer.encode_with_special(prompt);
  const ChatMessage message{"user", prompt};
  return encode_chat(tokenizer, {&message, 1}, /*add_generation_prompt=*/true);
}

std::vector<int64_t> ids_of(const json& object, InputKind kind, const InputRules& rules,
                            const Tokenizer& tokenizer) {
  switch (kind) {
    case InputKind::prompt:
      return encode_prompt(string_at(object, "prompt"), rules.chat, tokenizer);
    case InputKind::messages:
      return encode_chat(tokenizer, messages_at(object["messages"]),
                         /*add_generation_prompt=*/!rules.whole);
    case InputKind::text:
      return tokenizer.encode_with_special(string_at(object, "text"));
    case InputKind::token_ids:
      return ids_at(object["token_ids"], rules.vocab_size);
    case InputKind::completion:
      break;
  }
  return {};
}

// As supervised training reads it: where the prompt alone ends is where the two encodings part.
void read_completion(const json& object, const Tokenizer& tokenizer, Input& input) {
  if (!object.contains("prompt")) throw LineError{"\"completion\" needs a \"prompt\" beside it"};
  std::vector<int64_t> prompt;
  if (object["prompt"].is_array() && object["completion"].is_array()) {
    std::vector<ChatMessage> messages = messages_at(object["prompt"]);
    prompt = encode_chat(tokenizer, messages, /*add_generation_prompt=*/true);
    std::ranges::copy(messages_at(object["completion"]), std::back_inserter(messages));
    input.ids = encode_chat(tokenizer, messages, /*add_generation_prompt=*/false);
  } else {
    const std::string text = string_at(object, "prompt");
    prompt = tokenizer.encode_with_special(text);
    input.ids = tokenizer.encode_with_special(text + string_at(object, "completion"));
  }
  input.answer_begin = std::max<int64_t>(common_prefix(prompt, input.ids), 1);
  if (input.answer_begin >= std::ssize(input.ids)) {
    throw LineError{"the completion has no tokens"};
  }
}

void check_length(const Input& input, const InputRules& rules) {
  const int64_t length = static_cast<int64_t>(input.ids.size());
  const bool continued = rules.continued || (is_prompt(input.kind) && !rules.whole);
  if (rules.whole && length == 0) throw LineError{"the text has no tokens"};
  if (continued && length == 0) throw LineError{"the prompt has no tokens"};
  if (length > rules.max_positions - (continued ? 1 : 0)) {
    throw LineError{fmt::format("{} tokens{} do not fit the model's context of {}", length,
                                continued ? " and an answer" : "", rules.max_positions)};
  }
}

Input read_line(const std::string& line, int64_t index, const InputRules& rules,
                const Tokenizer& tokenizer) {
  const json object = parse_object(line);
  const InputKind kind = kind_of(object, rules);
  Input input{.index = index, .kind = kind, .ids = {}};
  if (kind == InputKind::completion) {
    read_completion(object, tokenizer, input);
  } else if (rules.limit && kind == InputKind::text) {
    CutText text = cut_text(tokenizer, string_at(object, "text"), *rules.limit);
    input.ids = std::move(text.ids);
    input.cut = text.cut;
  } else if (rules.limit && rules.whole && kind == InputKind::messages) {
    CutText text = cut_conversation(tokenizer, messages_at(object["messages"]), *rules.limit);
    input.ids = std::move(text.ids);
    input.cut = text.cut;
  } else {
    input.ids = ids_of(object, kind, rules, tokenizer);
  }
  check_length(input, rules);
  return input;
}

std::vector<std::string> read_lines(const std::filesystem::path& file) {
  std::ifstream opened;
  if (file != "-") {
    std::error_code error;
    if (std::filesystem::is_directory(file, error)) {
      throw FormatError(file.string() + ": is a folder, not a JSONL file");
    }
    opened.open(file, std::ios::binary);
    if (!opened) {
      throw FormatError(
          fmt::format("{}: {}", file.string(), std::generic_category().message(errno)));
    }
  }
  std::istream& stream = file == "-" ? std::cin : opened;
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(std::move(line));
  if (stream.bad()) throw FormatError(file.string() + ": cannot be read");
  while (!lines.empty() && lines.back().find_first_not_of(" \t\r") == std::string::npos) {
    lines.pop_back();
  }
  return lines;
}

}  // namespace

std::vector<Input> read_inputs(const std::filesystem::path& file, const InputRules& rules,
                               const Tokenizer& tokenizer) {
  const std::string name = file == "-" ? "standard input" : file.string();
  const std::vector<std::string> lines = read_lines(file);
  if (lines.empty()) throw FormatError(name + ": is empty");
  std::vector<Input> inputs;
  std::vector<std::string> problems;
  size_t num_problems = 0;
  for (size_t i = 0; i < lines.size(); ++i) {
    try {
      inputs.push_back(read_line(lines[i], static_cast<int64_t>(i), rules, tokenizer));
    } catch (const LineError& error) {
      if (++num_problems > kMaxProblems) continue;
      problems.push_back(fmt::format("{}:{}: {}", name, i + 1, error.problem));
    }
  }
  if (num_problems > kMaxProblems) {
    problems.push_back(fmt::format("… and {} more lines", num_problems - kMaxProblems));
  }
  if (!problems.empty()) throw FormatError(fmt::format("{}", fmt::join(problems, "\n")));
  return inputs;
}

Input prompt_input(const std::string& prompt, const InputRules& rules, const Tokenizer& tokenizer) {
  const Input input{
      .index = 0, .kind = InputKind::prompt, .ids = encode_prompt(prompt, rules.chat, tokenizer)};
  try {
    check_length(input, rules);
  } catch (const LineError& error) {
    throw ConfigError("--prompt: " + error.problem);
  }
  return input;
}

}  // namespace leash::cli

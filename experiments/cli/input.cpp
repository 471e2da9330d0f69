#include "experiments/cli/input.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>

#include "models/errors.h"
#include "models/tokenizer/chat_template.h"
#include "rl/data/chat_prompt.h"
#include "rl/data/encode.h"
#include "rl/data/jsonl.h"

namespace leash::cli {
namespace {

using json = nlohmann::ordered_json;

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

bool reads_completion(const InputRules& rules) {
  return std::ranges::count(rules.kinds, InputKind::completion) > 0;
}

InputKind kind_of(const json& object, const InputRules& rules) {
  std::vector<InputKind> found;
  std::vector<std::string> wanted;
  for (const InputKind kind : rules.kinds) {
    wanted.push_back(fmt::format("\"{}\"", key_of(kind)));
    const bool context = kind == InputKind::prompt && reads_completion(rules) &&
                         object.contains(key_of(InputKind::completion));
    if (object.contains(key_of(kind)) && !context) found.push_back(kind);
  }
  if (found.size() != 1) {
    throw FormatError(fmt::format("{} of {}", found.empty() ? "needs one" : "has more than one",
                                  fmt::join(wanted, ", ")));
  }
  return found.front();
}

std::string string_at(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) {
    throw FormatError(fmt::format("\"{}\" must be a text", key));
  }
  return found->get<std::string>();
}

std::vector<int64_t> ids_at(const json& list, int64_t vocab_size) {
  if (!list.is_array()) throw FormatError("\"token_ids\" must be a list of integers");
  std::vector<int64_t> ids;
  ids.reserve(list.size());
  for (const json& entry : list) {
    if (!entry.is_number_integer()) throw FormatError("\"token_ids\" must be a list of integers");
    // A number above int64's range is unsigned for the parser and must not wrap.
    const bool huge = entry.is_number_unsigned() && entry.get<uint64_t>() > INT64_MAX;
    if (huge || entry.get<int64_t>() < 0 || entry.get<int64_t>() >= vocab_size) {
      throw FormatError(fmt::format("token id {} is out of range (the vocabulary has {} tokens)",
                                    entry.dump(), vocab_size));
    }
    ids.push_back(entry.get<int64_t>());
  }
  return ids;
}

KnownKeys known_keys(const InputRules& rules) {
  KnownKeys known;
  for (const InputKind kind : rules.kinds) known.record.push_back(key_of(kind));
  if (reads_completion(rules)) known.record.emplace_back("prompt");
  known.record.emplace_back("tools");
  known.record.emplace_back("chat_template_kwargs");
  return known;
}

// A line after the other, as the rules of one command say.
class InputReader {
 public:
  InputReader(const InputRules& rules, const Tokenizer& tokenizer)
      : rules_(rules), tokenizer_(tokenizer), bound_(tokenizer, rules.max_positions) {}

  Input read(const json& object, int64_t index) const {
    const InputKind kind = kind_of(object, rules_);
    Input input{.index = index, .kind = kind, .ids = {}};
    if (kind == InputKind::completion) {
      read_completion(object, input);
    } else if (kind == InputKind::token_ids) {
      input.ids = ids_at(object["token_ids"], rules_.vocab_size);
    } else if (kind == InputKind::text) {
      read_text(string_at(object, "text"), input);
    } else if (kind == InputKind::messages || object["prompt"].is_array()) {
      const char* key = kind == InputKind::messages ? "messages" : "prompt";
      read_messages(messages_of(object[key], key), chat_options_of(object), input);
    } else {
      input.ids = prompt(string_at(object, "prompt"));
    }
    check_length(input);
    return input;
  }

  std::vector<int64_t> prompt(const std::string& text) const {
    bound_.check(text);
    if (!rules_.chat) return encode_text(tokenizer_, text);
    check_chat_template(tokenizer_);
    const ChatMessage message{"user", text};
    return encode_chat(tokenizer_, {&message, 1}, /*add_generation_prompt=*/true);
  }

  void check_length(const Input& input) const {
    const int64_t length = std::ssize(input.ids);
    const bool continued = rules_.continued || (is_prompt(input.kind) && !rules_.whole);
    if (rules_.whole && length == 0) throw FormatError("the text has no tokens");
    if (continued && length == 0) throw FormatError("the prompt has no tokens");
    if (length > rules_.max_positions - (continued ? 1 : 0)) {
      throw FormatError(fmt::format("{} tokens{} do not fit the model's context of {}", length,
                                    continued ? " and an answer" : "", rules_.max_positions));
    }
  }

 private:
  void read_text(const std::string& text, Input& input) const {
    if (rules_.limit) return take(cut_text(tokenizer_, text, *rules_.limit), input);
    bound_.check(text);
    input.ids = encode_text(tokenizer_, text);
  }

  void read_messages(const std::vector<ChatMessage>& messages, const ChatOptions& options,
                     Input& input) const {
    check_chat_template(tokenizer_);
    if (rules_.limit && rules_.whole) {
      return take(cut_conversation(tokenizer_, messages, *rules_.limit, options), input);
    }
    bound_.check(messages);
    input.ids =
        rules_.whole
            ? encode_chat(tokenizer_, messages, /*add_generation_prompt=*/false, options)
            : encode_rendered(tokenizer_, render_prompt(tokenizer_, messages,
                                                        rules_.continue_final_message, options));
  }

  static void take(CutText text, Input& input) {
    input.ids = std::move(text.ids);
    input.cut = text.cut;
  }

  // As supervised training reads it: where the prompt alone ends is where the two encodings part.
  void read_completion(const json& object, Input& input) const {
    if (!object.contains("prompt")) {
      throw FormatError("\"completion\" needs a \"prompt\" beside it");
    }
    std::vector<int64_t> prompt;
    if (object["prompt"].is_array() && object["completion"].is_array()) {
      check_chat_template(tokenizer_);
      std::vector<ChatMessage> messages = messages_of(object["prompt"], "prompt");
      const size_t asked = messages.size();
      std::ranges::copy(messages_of(object["completion"], "completion"),
                        std::back_inserter(messages));
      bound_.check(messages);
      const ChatOptions options = chat_options_of(object);
      prompt = encode_chat(tokenizer_, std::span(messages).first(asked),
                           /*add_generation_prompt=*/true, options);
      input.ids = encode_chat(tokenizer_, messages, /*add_generation_prompt=*/false, options);
    } else {
      const std::string text = string_at(object, "prompt");
      const std::string whole = text + string_at(object, "completion");
      bound_.check(whole);
      prompt = encode_text(tokenizer_, text);
      input.ids = encode_text(tokenizer_, whole);
    }
    input.answer_begin = std::max<int64_t>(common_prefix(prompt, input.ids), 1);
    if (input.answer_begin >= std::ssize(input.ids)) {
      throw FormatError("the completion has no tokens");
    }
  }

  const InputRules& rules_;
  const Tokenizer& tokenizer_;
  TextBound bound_;
};

}  // namespace

LineReader open_lines(const std::string& input) {
  return input == "-" ? LineReader::standard_input() : LineReader(input);
}

std::vector<Input> read_inputs(const std::string& input, const InputRules& rules,
                               const Tokenizer& tokenizer) {
  LineReader lines = open_lines(input);
  const InputReader reader(rules, tokenizer);
  std::vector<Input> inputs;
  for_each_json_line(
      lines, known_keys(rules), EmptyLines::refused,
      [&](const json& object, int64_t line) { inputs.push_back(reader.read(object, line - 1)); });
  if (inputs.empty()) throw FormatError(lines.name() + ": is empty");
  return inputs;
}

Input prompt_input(const std::string& prompt, const InputRules& rules, const Tokenizer& tokenizer) {
  const InputReader reader(rules, tokenizer);
  try {
    Input input{.index = 0, .kind = InputKind::prompt, .ids = reader.prompt(prompt)};
    reader.check_length(input);
    return input;
  } catch (const FormatError& error) {
    throw ConfigError(std::string("--prompt: ") + error.what());
  }
}

}  // namespace leash::cli

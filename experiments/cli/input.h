// JSONL input of generate, score and kl-report: one object a line, encoded and checked, all
// problems named by file and line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/tokenizer/tokenizer.h"
#include "rl/data/cut_text.h"
#include "rl/data/line_reader.h"

namespace leash::cli {

enum class InputKind {
  prompt,     // {"prompt": "…"}: raw text, or one user message when `chat`; a list is `messages`
  messages,   // {"messages": [{"role", "content"}, …]}: the checkpoint's chat template
  text,       // {"text": "…"}: raw text
  token_ids,  // {"token_ids": [1, 2, …]}
  completion  // {"prompt": …, "completion": …}: both raw text, or both lists of messages
};

// To be continued by a model, or a text as it is.
constexpr bool is_prompt(InputKind kind) {
  return kind == InputKind::prompt || kind == InputKind::messages;
}

struct Input {
  int64_t index = 0;  // of its line, from 0 on
  InputKind kind = InputKind::text;
  std::vector<int64_t> ids;
  int64_t answer_begin = 1;  // first token that is not context; of a completion, behind its prompt
  int64_t cut = 0;           // tokens that rules.limit cut off
};

struct InputRules {
  std::vector<InputKind> kinds;  // what may stand on a line
  bool chat = false;
  bool whole = false;      // messages are a whole conversation, and every line needs a token
  bool continued = false;  // token_ids are prompts: at least one token, and room for one more
  bool continue_final_message = false;  // of prompts that end with the assistant
  int64_t vocab_size = 0;
  int64_t max_positions = 0;
  std::optional<TextLimit> limit = {};  // cut text and whole messages; token_ids are as they are
};

// What --input names ("-": standard input).
LineReader open_lines(const std::string& input);

// Reads what --input names. FormatError names up to 20 bad lines at once. Every line is an object;
// only empty lines at the very end are passed over.
std::vector<Input> read_inputs(const std::string& input, const InputRules& rules,
                               const Tokenizer& tokenizer);

// What --prompt says, under the same rules (as line 1 of "--prompt").
Input prompt_input(const std::string& prompt, const InputRules& rules, const Tokenizer& tokenizer);

}  // namespace leash::cli

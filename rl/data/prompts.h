// Prompts from JSON lines, and the order in which a run takes them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/tokenizer/chat_template.h"
#include "models/tokenizer/tokenizer.h"
#include "rl/data/data_config.h"

namespace leash {

struct PromptRecord {
  std::string text;          // as the model reads it, chat markup included; for reports and rewards
  std::string display;       // what was asked: the raw prompt, or the last user message
  std::vector<int64_t> ids;  // at least one
  int64_t line = 0;          // 1-based, in its file
  std::vector<ChatMessage> messages{};                  // of a conversation
  ChatOptions options{};                                // likewise
  std::shared_ptr<const nlohmann::ordered_json> row{};  // the whole record
};

struct PromptLimits {
  int64_t max_prompt_length = 512;      // tokens
  int64_t context = 0;                  // of the model, prompt and answer together
  int64_t min_answer_tokens = 1;        // what a prompt has to leave free of it
  bool continue_final_message = false;  // of conversations that end with the assistant
  PromptTruncation truncation = PromptTruncation::error;  // of longer prompts
  std::vector<std::string> columns = {};  // that somebody else reads, besides the prompt's own keys
  bool any_column = false;                // somebody may read every one

  int64_t longest() const { return std::min(max_prompt_length, context - min_answer_tokens); }
};

// Reads a JSONL file: each line is an object with `prompt` (raw text, which gets the tokenizer's
// own special tokens) or `messages` (a list of {role, content} for the checkpoint's chat template,
// with the generation prompt), which `prompt` may be as well. Other keys stay in the record's
// `row`; a warning names those that nobody reads. FormatError lists all bad lines (at most 20) as
// `file:line: …`; a file without prompts is one as well. What becomes of prompts that are too long
// says limits.truncation; how many were left out or cut says a warning. A cut text keeps the
// tokenizer's own special tokens; its `text` is what is left of it, `messages` stay whole.
std::vector<PromptRecord> read_prompts(const std::filesystem::path& file,
                                       const Tokenizer& tokenizer, const PromptLimits& limits);

// Held-out prompts whose ids are those of a training prompt as well, as a sentence that names the
// first of them; empty where there is none.
std::string leaked_prompts(const std::vector<PromptRecord>& train,
                           const std::vector<PromptRecord>& held_out);

// The endless order of prompts: epoch after epoch, each a permutation that is a pure function of
// (seed, epoch), or the file's order. Where a run stands is the number of prompts it has taken.
class PromptOrder {
 public:
  PromptOrder(int64_t num_prompts, bool shuffle, uint64_t seed);
  // Indices of the next `count` prompts after `consumed` ones.
  std::vector<int64_t> next(int64_t consumed, int64_t count) const;

 private:
  int64_t num_prompts_;
  bool shuffle_;
  uint64_t seed_;
};

}  // namespace leash

// Prompts from JSON lines, and the order in which a run takes them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "models/tokenizer/chat_template.h"
#include "models/tokenizer/tokenizer.h"

namespace leash {

struct PromptRecord {
  std::string text;          // as the model reads it, chat markup included; for reports and rewards
  std::string display;       // what was asked: the raw prompt, or the last user message
  std::vector<int64_t> ids;  // at least one
  int64_t line = 0;          // 1-based, in its file
  std::vector<ChatMessage> messages{};  // of a conversation
  ChatOptions options{};                // likewise
};

struct PromptLimits {
  int64_t max_prompt_length = 512;      // tokens
  int64_t context = 0;                  // of the model, prompt and answer together
  int64_t min_answer_tokens = 1;        // what a prompt has to leave free of it
  bool continue_final_message = false;  // of conversations that end with the assistant
};

// Reads a JSONL file: each line is an object with `prompt` (raw text, which gets the tokenizer's
// own special tokens) or `messages` (a list of {role, content} for the checkpoint's chat template,
// with the generation prompt), which `prompt` may be as well. Other keys are ignored with a
// warning. FormatError lists all bad lines (at most 20) as `file:line: …`; a file without prompts
// is one as well.
std::vector<PromptRecord> read_prompts(const std::filesystem::path& file,
                                       const Tokenizer& tokenizer, const PromptLimits& limits);

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

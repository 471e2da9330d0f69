// How a text that is classified becomes tokens, and what of a longer one stays: the same in
// training and afterwards.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "models/tokenizer/chat_template.h"
#include "models/tokenizer/tokenizer.h"
#include "rl/data/data_config.h"

namespace leash {

struct TextLimit {
  int64_t max_length = 0;  // tokens, the tokenizer's special ones included
  TruncationMode mode = TruncationMode::keep_start;

  bool operator==(const TextLimit&) const = default;
};

struct CutText {
  std::vector<int64_t> ids = {};
  int64_t cut = 0;  // tokens that were cut off
};

// Raw text between the tokenizer's own special tokens, which a cut leaves in their places, as
// truncation=True of transformers' tokenizers does. WholeFileError where these alone fill
// max_length.
CutText cut_text(const Tokenizer& tokenizer, std::string_view text, const TextLimit& limit);

// A rendered conversation, cut as it is: its template's markup counts as text, as for transformers.
CutText cut_conversation(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                         const TextLimit& limit, const ChatOptions& options = {});

// truncation.json beside an adapter: {"max_length": 1024, "truncation_mode": "keep_start"}.
void write_text_limit(const std::filesystem::path& folder, const TextLimit& limit);
// None where the folder has no such file. FormatError.
std::optional<TextLimit> read_text_limit(const std::filesystem::path& folder);

}  // namespace leash

// What a text ends with where a reward model reads its score: one rule for training, evaluation,
// `leash score` and PPO, kept with the adapter that was trained under it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "models/tokenizer/tokenizer.h"

namespace leash {

// Defaults are those of reward training (PreferenceDataConfig).
struct TextEnding {
  bool append_eos = true;  // a plain text ends with EOS
  bool end_at_eos = true;  // a conversation ends with its last EOS, whatever follows it in the
                           // chat template
  bool operator==(const TextEnding&) const = default;
};

// A plain text, as encoded, with its ending. WholeFileError where it needs an EOS that the
// tokenizer does not name.
void end_text(const TextEnding& ending, const Tokenizer& tokenizer, std::vector<int64_t>& ids);
// A rendered conversation, as encoded, cut to its ending.
void end_conversation(const TextEnding& ending, const Tokenizer& tokenizer,
                      std::vector<int64_t>& ids);
// What stands behind the words of an answer that is complete: of one to a plain prompt, or of the
// assistant's in a conversation. FormatError where the chat template is not known.
std::vector<int64_t> answer_ending(const TextEnding& ending, const Tokenizer& tokenizer, bool chat);

// Leaves out what transformers' sequence classification passes over: it reads the rightmost token
// that is not padding, and the first of a text of padding alone.
void leave_out_padding(std::optional<int64_t> pad_token_id, std::vector<int64_t>& ids);

// Tells chat templates apart by what they render; empty where that is not known.
std::string chat_fingerprint(const Tokenizer& tokenizer);

// The rule as adapter_model.safetensors holds it in its metadata.
inline constexpr const char* kEndingKey = "leash.ending";
std::string ending_text(const TextEnding& ending, const Tokenizer& tokenizer);
// The rule of an adapter's folder; where it says none, reward training's defaults and a warning.
// Another warning where it was trained with another chat template. FormatError.
struct AdapterEnding {
  TextEnding ending = {};
  bool said = false;  // by the adapter
  std::vector<std::string> warnings = {};
};
AdapterEnding read_ending(const std::filesystem::path& folder, const Tokenizer& tokenizer);

}  // namespace leash

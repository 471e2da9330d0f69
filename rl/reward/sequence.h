// A prompt and its answer as the tokens that a reward model reads.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "models/families/decoder_config.h"
#include "models/tokenizer/tokenizer.h"
#include "rl/data/text_ending.h"
#include "rl/reward/source.h"

namespace leash {

// In the policy's tokens, the answer as it was sampled. One that ended by itself gets the ending of
// training in place of what ended it (the same tokens, where that is EOS); words before a stop text
// that begins within a token are encoded anew. One that was cut off gets none.
// Without a tokenizer it is read as it was sampled. `trained_with` is the tokenizer whose EOS and
// template the ending is, over the same vocabulary; the policy's where there is none.
std::vector<int64_t> policy_sequence(const RewardSample& sample,
                                     const std::optional<Tokenizer>& tokenizer,
                                     const TextEnding& ending,
                                     const Tokenizer* trained_with = nullptr);

// In the tokens of another model, with its tokenizer's special tokens around a plain text and its
// chat template around a conversation. FormatError where that template is not known.
std::vector<int64_t> foreign_sequence(const RewardSample& sample, const Tokenizer& tokenizer,
                                      const TextEnding& ending);

// Of a sequence over the model's context the end is left out, and its score read as that of an
// answer that was cut off.
void cut_to_context(const DecoderConfig& config, std::vector<int64_t>& ids);

}  // namespace leash

// Pairs of answers of which one is preferred, from JSON lines in TRL's preference formats.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "models/tokenizer/tokenizer.h"
#include "rl/data/data_config.h"
#include "rl/data/text_ending.h"

namespace leash {

struct PreferencePair {
  std::vector<int64_t> chosen;    // prompt and answer, at least one token
  std::vector<int64_t> rejected;  // likewise
  // Tokens of the shared prefix; each has at least one more.
  int64_t common = 0;
  double margin = 0;   // by how much the score of `chosen` should be higher
  bool tie = false;    // neither is preferred
  int64_t line = 0;    // 1-based, in its file
  uint64_t id = 0;     // its number among the file's pairs: the key of its draws
  int64_t prompt = 0;  // pairs of one file with equal prompts have equal numbers: 0, 1, …
  // What the user reads, and what tells prompts apart.
  std::string prompt_text;
  std::string chosen_text;
  std::string rejected_text;
  std::string prompt_key;
  // PairUse::answers: how many tokens of each are the prompt's. 0 where the answer fills what
  // truncation left; nothing predicts a text's first token.
  int64_t chosen_begin = 0;
  int64_t rejected_begin = 0;

  int64_t tokens() const { return static_cast<int64_t>(chosen.size() + rejected.size()); }
  // Tokens that go through the model: the shared prefix only once.
  int64_t rows() const { return tokens() - common; }
  // Tokens of the answers, from where they differ.
  int64_t chosen_length() const { return static_cast<int64_t>(chosen.size()) - common; }
  int64_t rejected_length() const { return static_cast<int64_t>(rejected.size()) - common; }
};

// What is read of a pair: scores of whole sequences, or log-probs of their answers.
enum class PairUse { scores, answers };

struct PreferenceCounts {
  int64_t lines = 0;          // pairs in the file
  int64_t truncated = 0;      // pairs that were cut
  int64_t cut_tokens = 0;     // what was cut off them
  int64_t dropped_long = 0;   // pairs with more than max_length tokens
  int64_t dropped_equal = 0;  // pairs whose answers are equal where they were cut
  int64_t dropped_ties = 0;
  int64_t dropped_bad = 0;  // pairs of which both are bad
  // Prompts whose end is tokenized otherwise in front of an answer: that begins where it differs.
  int64_t merged_borders = 0;
  int64_t pairs = 0;          // that are kept
  int64_t prompts = 0;        // different ones among them
  int64_t tokens = 0;         // of both sequences
  int64_t shared_tokens = 0;  // of them: shared prefixes, once
  int64_t margins = 0;        // pairs with a margin that is not 0
  int64_t ties = 0;           // that are kept

  // "400 pairs over 150 prompts, 45,678 tokens (12,345 shared); 3 dropped: …"
  std::string text() const;
};

struct PreferenceData {
  std::vector<PreferencePair> pairs;
  PreferenceCounts counts;
};

TextEnding ending_of(const PreferenceDataConfig& config);

// Reads a JSONL file whose lines are, by their keys (each with an optional number `margin`, which
// PairUse::answers leaves unread):
//   {"prompt": …, "chosen": …, "rejected": …}   texts; answers follow their prompt
//   {"chosen": …, "rejected": …}                texts that contain their prompt: what both begin
//                                               with, up to its last line break (else its last
//                                               space)
//   the same with lists of messages             chat through the checkpoint's template; without
//                                               `prompt` the messages that both begin with
// With `tie: true` the judge preferred neither (data.ties), with `both_bad: true` rejected both:
// such a pair is dropped. What else a judgement says (who, when, a comment, seeds and adapters of
// the answers) is passed over.
//
// PairUse::answers: an answer begins where the tokens of its prompt alone (for chat with the
// generation prompt) and those of the whole differ, for both where it does so first. Without
// `prompt` two texts share what both begin with, character by character, less a space at its end;
// TRL's DPOTrainer does it so.
//
// Raw text gets the tokenizer's own special tokens, and EOS with append_eos; chat gets neither, and
// with end_at_eos loses what its template puts behind the last EOS. A score is read at the last
// token. `context` bounds max_length. FormatError lists all bad lines (at most 20) as `file:line:
// …`; a file without pairs is one as well.
PreferenceData read_preferences(const std::filesystem::path& file, const Tokenizer& tokenizer,
                                const PreferenceDataConfig& config, int64_t context,
                                PairUse use = PairUse::scores);

// Training and held-out pairs as `data:` says: two files, or one whose prompts are split by `seed`,
// so that no prompt is on both sides. Held-out ties are left out, since no answer to them is right.
struct PreferenceDataSets {
  PreferenceData train;
  PreferenceData eval;  // without pairs where the recipe holds nothing out
};
PreferenceDataSets read_preference_data_sets(const PreferenceDataConfig& config,
                                             const Tokenizer& tokenizer, int64_t context,
                                             uint64_t seed, PairUse use = PairUse::scores);

// Held-out pairs whose prompt is one of the training data's.
int64_t leaked_pairs(const PreferenceDataSets& sets);

}  // namespace leash

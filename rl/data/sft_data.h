// Supervised samples from JSON lines in TRL's dataset formats.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "models/tokenizer/tokenizer.h"
#include "rl/data/data_config.h"

namespace leash {

struct SftSample {
  std::vector<int64_t> ids;      // at least two
  std::vector<uint8_t> trained;  // per token: whether the loss counts it; entry 0 is always 0
  int64_t line = 0;              // 1-based, in its file
  uint64_t id = 0;               // its number among the file's samples: the key of its draws
  // What a model can be asked: the first tokens, up to where the (last) answer begins, and what the
  // user reads of it. 0 for plain text, and where the sample was cut.
  int64_t prompt_tokens = 0;
  std::string prompt;

  int64_t num_trained() const;
  // Tokens that have to go through the model: all before the last trained one.
  int64_t num_rows() const;
};

struct SftDataCounts {
  int64_t lines = 0;           // samples in the file
  int64_t truncated = 0;       // samples that were cut
  int64_t cut_tokens = 0;      // what was cut off them
  int64_t dropped = 0;         // samples left without a trained token
  int64_t merged_borders = 0;  // prompts whose last token runs into the completion
  int64_t tokens = 0;          // of the samples that are kept
  int64_t trained_tokens = 0;  // likewise

  // "160 samples, 12,345 tokens (6,789 trained); 3 truncated by 210 tokens; …"
  std::string text() const;
};

struct SftData {
  std::vector<SftSample> samples;
  SftDataCounts counts;
};

// Reads a JSONL file whose lines are, by their keys:
//   {"text": …}                      raw text; every token trains
//   {"prompt": …, "completion": …}   texts; only the completion trains unless completion_only_loss
//                                    is false
//   {"messages": […]}                chat through the checkpoint's template; every token trains, or
//                                    with assistant_only_loss what the template renders for the
//                                    assistant after its generation prompt, end of turn included
//   {"prompt": […], "completion": […]}  the same as messages, with the prompt–completion border
// Raw text gets the tokenizer's own special tokens, and EOS with append_eos; chat gets neither.
// The whole is encoded as one text; where a prompt's last token merges with what follows, training
// begins at the first token that differs (TRL begins at the prompt's own number of tokens).
// `context` bounds max_length. FormatError lists all bad lines (at most 20) as `file:line: …`; a
// file without a sample that trains is one as well.
SftData read_sft_data(const std::filesystem::path& file, const Tokenizer& tokenizer,
                      const SftDataConfig& config, int64_t context);

// Training and held-out samples as `data:` says: two files, or one split by `seed`.
struct SftDataSets {
  SftData train;
  SftData eval;  // without samples where the recipe holds nothing out
};
SftDataSets read_sft_data_sets(const SftDataConfig& config, const Tokenizer& tokenizer,
                               int64_t context, uint64_t seed);

}  // namespace leash

// Texts with a class each, from JSON lines.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "models/tokenizer/tokenizer.h"
#include "rl/data/cut_text.h"
#include "rl/data/data_config.h"

namespace leash {

// The names of all classes; a class is an index. At least two, all different.
using ClassNames = std::vector<std::string>;

// As transformers names classes that have only a number: LABEL_0, LABEL_1, …
ClassNames numbered_classes(int64_t count);

// What is known of the classes before any data is read.
struct KnownClasses {
  ClassNames names = {};    // empty: the data names them
  std::string origin = {};  // what names or numbers them, for messages; empty for data.labels
  int64_t numbered = 0;     // without names: a trained head with so many outputs is there
};

struct LabelledText {
  std::vector<int64_t> ids = {};  // at least one
  int64_t label = 0;              // its class
  int64_t line = 0;               // 1-based, in its file
  uint64_t id = 0;                // its number among the file's texts: the key of its draws
  std::string text = {};          // what the user reads
  int64_t cut = 0;                // tokens of it that max_length cut off
};

struct LabelledCounts {
  int64_t texts = 0;
  int64_t tokens = 0;      // of texts as they are kept
  int64_t truncated = 0;   // texts that were cut
  int64_t cut_tokens = 0;  // what was cut off them

  void add(const LabelledText& text);
};

struct LabelledData {
  std::vector<LabelledText> texts;
  LabelledCounts counts;

  // "120 texts, 1,234 tokens: negative 60, positive 60; 3 truncated by 210 tokens in all"
  std::string summary(const ClassNames& classes) const;
};

// Training and held-out texts as `data:` says: two files, or one split by `seed`; and the classes:
// known ones, or what data.train has (names, sorted by their bytes; or numbers, all of 0 … n - 1).
struct LabelledDataSets {
  ClassNames classes;
  TextLimit limit;  // under which all of them were read
  LabelledData train;
  LabelledData eval;  // without texts where the recipe holds nothing out
};

// Lines are {"text": "…", "label": …} (raw text, with the tokenizer's own special tokens) or
// {"messages": […], "label": …} (the checkpoint's chat template). The class is read at the last
// token. `context` bounds max_length. A label is the name of a known class or its number; where
// data.train names the classes, a number has no meaning. FormatError lists all bad lines of a file
// (at most 20) as `file:line: …`, a label that is none of the classes among them; so is a file
// without texts, and data with fewer than two classes.
LabelledDataSets read_labelled_data_sets(const LabelledDataConfig& config,
                                         const Tokenizer& tokenizer, int64_t context, uint64_t seed,
                                         const KnownClasses& known = {});

}  // namespace leash

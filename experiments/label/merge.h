// Several people's preference files as one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "experiments/label/judgement.h"
#include "experiments/label/pair.h"

namespace leash::label {

struct MergedRows {
  std::vector<Json> rows;  // by time
  // What the rows say, in their order.
  std::vector<LabelPair> pairs;
  std::vector<Judgement> judgements;
  int64_t repeated = 0;  // rows that stood in several files, left out but once
  int64_t replaced = 0;  // rows whose person judged the same pair again later, left out
};

// Each source is a file that `leash label` wrote, or a folder with a preferences.jsonl. FormatError
// lists bad lines as `file:line: …`.
MergedRows merge_rows(const std::vector<std::filesystem::path>& sources);

}  // namespace leash::label

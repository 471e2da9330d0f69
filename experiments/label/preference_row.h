// A judged pair as a line of preference data (docs/feedback.md), and back.
#pragma once

#include <optional>
#include <string>

#include "experiments/label/judgement.h"
#include "experiments/label/pair.h"

namespace leash::label {

// Nothing of a skipped pair. Of a tie, and where both are bad, `chosen` is the answer that was
// shown on the left.
std::optional<Json> preference_row(const LabelPair& pair, const Judgement& judgement);

struct JudgedRow {
  LabelPair pair;
  Judgement judgement;
};
// FormatError where it is no row that `leash label` wrote, or was changed since.
JudgedRow judged_row(const Json& row);

}  // namespace leash::label

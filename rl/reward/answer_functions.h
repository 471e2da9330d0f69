// Answers that are right or wrong: 1 or 0, compared with a column.
#pragma once

#include "rl/reward/config.h"
#include "rl/reward/scorer.h"

namespace leash {

// 1 where a number of the answer equals the column's (one of a list's) up to the parameter
// `tolerance` (0: equal_numbers in numbers.h). Which number: `last` (default) the last one; `boxed`
// the only one in the last \boxed{}; `marker` the first one behind the last marker; `whole` the
// only one of all. 0 where there is none. The column is a number, a text that is one (units may
// stand beside it), or a text in which it is found as in the answer ("… #### 72"). The parameter
// `percent` (100): "5 %" is 5 / percent.
Scorer numeric_answer(const RewardConfig& config);

// 1 where a text of the answer equals the column's, or one of a list's. Which text: `whole`
// (default); `boxed`: in the last \boxed{}; `marker`: behind the last marker, the rest of its line
// or the next line that is not empty, without a full stop at its end; `last`: the last number as it
// is written. Compared composed, with white space at the ends left out and inside as one space
// (boxed: as formulas, see comparable_formula); with `ignore_case` case-folded. The column's text
// is taken whole, or with marker what stands behind one in it.
Scorer exact_answer(const RewardConfig& config);

}  // namespace leash

// How often a reward model's favourite is the preferred answer, against how sure it was.
#pragma once

#include <cstdint>

#include "rl/reward_evaluation.h"
#include "rl/svg_chart.h"

namespace leash {

LineChart calibration_chart(const RewardEvaluation& evaluation, int64_t step);

}  // namespace leash

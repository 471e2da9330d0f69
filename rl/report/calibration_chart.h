// How often a reward model's favourite is the preferred answer, against how sure it was.
#pragma once

#include <cstdint>

#include "rl/report/svg_chart.h"
#include "rl/reward_model/evaluation.h"

namespace leash {

LineChart calibration_chart(const RewardEvaluation& evaluation, int64_t step);

}  // namespace leash

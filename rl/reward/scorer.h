// A reward function with its settings: what it says of an answer, what it asks of a record.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>

#include "rl/reward/sample.h"

namespace leash {

struct Scorer {
  std::function<double(const RewardSample& sample)> score = {};
  // FormatError where no answer to a prompt of this record (nullptr: of none) can be scored.
  std::function<void(const nlohmann::ordered_json* row)> check_row = {};
};

}  // namespace leash

// {"mean": …, "ci95": [low, high] or null}
#pragma once

#include <nlohmann/json.hpp>

#include "rl/statistics/statistics.h"

namespace leash {

inline nlohmann::ordered_json interval_json(const MeanInterval& value) {
  nlohmann::ordered_json json = {{"mean", value.mean}, {"ci95", nullptr}};
  if (value.ci95) json["ci95"] = {value.ci95->low, value.ci95->high};
  return json;
}

}  // namespace leash

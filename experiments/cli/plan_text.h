// A plan as text for the user and as one line of JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "rl/plan/fit.h"
#include "rl/plan/plan.h"

namespace leash::cli {

std::string plan_text(const Plan& plan, const ModelFacts& model, const std::optional<Fit>& fit);
nlohmann::ordered_json plan_json(const Plan& plan, const ModelFacts& model,
                                 const std::optional<Fit>& fit);

}  // namespace leash::cli

// The parts of kl-report's page that say how, where and in which words a policy drifted.
#pragma once

#include <string>

#include "rl/report/kl_report.h"

namespace leash {

// Every measure with what it means in plain words, by policy, by group and by step of training.
std::string drift_overview_html(const KlReport& report);

// Tokens and n-grams that moved, how answers read, which modules changed.
std::string drift_details_html(const KlReport& report);

}  // namespace leash

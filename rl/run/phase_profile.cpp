#include "rl/run/phase_profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

namespace leash {
namespace {

constexpr size_t kOpsShown = 5;

using Phase = PhaseProfile::Phase;

double seconds_of(const std::vector<Phase>& phases) {
  double seconds = 0;
  for (const Phase& phase : phases) seconds += phase.seconds;
  return seconds;
}

std::vector<std::pair<std::string, OpCost>> by_cost(const OpCosts& ops) {
  std::vector<std::pair<std::string, OpCost>> sorted(ops.begin(), ops.end());
  std::ranges::stable_sort(
      sorted, [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  return sorted;
}

double percent(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }

}  // namespace

double Phase::seconds_in_ops() const {
  double seconds = 0;
  for (const auto& [name, cost] : ops) seconds += cost.seconds;
  return seconds;
}

PhaseProfile::PhaseProfile(std::string_view first_phase) {
  phases_.push_back({.name = std::string(first_phase), .times = 1});
}

void PhaseProfile::enter(std::string_view phase) {
  const auto now = std::chrono::steady_clock::now();
  Phase& ended = phases_[current_];
  ended.seconds += std::chrono::duration<double>(now - std::exchange(since_, now)).count();
  for (const auto& [name, cost] : ops_.take()) {
    OpCost& sum = ended.ops[name];
    sum.calls += cost.calls;
    sum.seconds += cost.seconds;
  }
  const auto known = std::ranges::find(phases_, phase, &Phase::name);
  current_ = static_cast<size_t>(known - phases_.begin());
  if (known == phases_.end()) phases_.push_back({.name = std::string(phase)});
  ++phases_[current_].times;
}

std::vector<Phase> PhaseProfile::phases() {
  const std::string current = phases_[current_].name;
  enter(current);
  --phases_[current_].times;
  return phases_;
}

std::string profile_table(const std::vector<Phase>& phases) {
  const double whole = seconds_of(phases);
  std::string table = fmt::format("{:<22}{:>7}{:>10}{:>8}{:>15}  {}\n", "phase", "times", "seconds",
                                  "share", "in operators", "the costliest");
  for (const Phase& phase : phases) {
    fmt::format_to(std::back_inserter(table), "{:<22}{:>7}{:>10.2f}{:>6.1f} %{:>13.1f} %  ",
                   phase.name, phase.times, phase.seconds, percent(phase.seconds, whole),
                   percent(phase.seconds_in_ops(), phase.seconds));
    const auto ops = by_cost(phase.ops);
    for (size_t i = 0; i < std::min(kOpsShown, ops.size()); ++i) {
      fmt::format_to(std::back_inserter(table), "{}{} {:.0f} %", i > 0 ? ", " : "", ops[i].first,
                     percent(ops[i].second.seconds, phase.seconds));
    }
    table += "\n";
  }
  return table + fmt::format("{:<29}{:>10.2f}\n", "all", whole);
}

nlohmann::ordered_json profile_json(const std::vector<Phase>& phases) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Phase& phase : phases) {
    nlohmann::ordered_json ops = nlohmann::ordered_json::object();
    for (const auto& [name, cost] : by_cost(phase.ops)) {
      ops[name] = {{"calls", cost.calls}, {"seconds", cost.seconds}};
    }
    list.push_back({{"name", phase.name},
                    {"times", phase.times},
                    {"seconds", phase.seconds},
                    {"seconds_in_ops", phase.seconds_in_ops()},
                    {"ops", std::move(ops)}});
  }
  return {{"seconds", seconds_of(phases)}, {"phases", std::move(list)}};
}

}  // namespace leash

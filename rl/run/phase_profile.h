// Where the time of a run goes: its phases, and within them the operators.
#pragma once

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "models/device/op_profile.h"

namespace leash {

// One clock that is always in some phase, so the phases add up to all of the time.
class PhaseProfile {
 public:
  explicit PhaseProfile(std::string_view first_phase);

  // The phase so far ends; a name that was there before goes on adding to it.
  void enter(std::string_view phase);

  struct Phase {
    std::string name;
    int64_t times = 0;
    double seconds = 0;
    OpCosts ops{};
    double seconds_in_ops() const;
  };
  // In the order in which they came first, the current one included.
  std::vector<Phase> phases();

 private:
  std::vector<Phase> phases_;
  size_t current_ = 0;
  std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
  OpProfile ops_;
};

// A line per phase: seconds, share of the whole, how much of it LibTorch's operators and our
// kernels account for (lanes that work at the same time can make that more than 100 %), and the
// costliest of them.
std::string profile_table(const std::vector<PhaseProfile::Phase>& phases);
// {"seconds", "phases": [{"name", "times", "seconds", "seconds_in_ops", "ops": {name: {"calls",
// "seconds"}}}]}
nlohmann::ordered_json profile_json(const std::vector<PhaseProfile::Phase>& phases);

}  // namespace leash

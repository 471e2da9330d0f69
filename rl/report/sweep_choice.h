// Which run of a sweep is best, and how much of its figure comes from having chosen it. Pure
// functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "rl/statistics/statistics.h"

namespace leash {

// One evaluated snapshot: a number for each held-out prompt, the same prompts for all.
struct SweepCandidate {
  size_t run = 0;  // of the sweep
  int64_t step = 0;
  std::vector<double> rewards;
  std::vector<double> kls;  // exact, nats per answer
};

struct SweepChoice {
  size_t candidate = 0;  // the best on the prompts with even numbers
  MeanInterval reward;   // its, on the others, which had no say: choosing flatters it not
  MeanInterval kl;       // likewise
  double flattered = 0;  // its reward on the prompts that chose it
  // What choosing adds on average: the winner's lead over all candidates on the half that chose it,
  // less its lead on the other half (which takes out that one half may be easier), mean over both
  // ways to take the halves.
  double by_choosing = 0;
  size_t candidates = 0;  // among which was chosen
};

// Candidates whose mean KL on the choosing half is within `max_kl` (none: all). nullopt where none
// is, or there are fewer than four prompts. Candidates of other prompts than the first's are left
// out.
std::optional<SweepChoice> choose_best(std::span<const SweepCandidate> candidates,
                                       std::optional<double> max_kl);

struct FrontierPoint {
  double kl = 0;
  double reward = 0;
};

// Places of the points for which no other has at least as much reward at no more KL, by rising KL.
std::vector<size_t> reward_frontier(std::span<const FrontierPoint> points);

}  // namespace leash

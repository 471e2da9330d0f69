#include "rl/ppo/best.h"

#include <cmath>

#include "models/io/snapshot.h"

namespace leash {

void consider(const Evaluation& sampled, int64_t step, std::optional<double> max_kl,
              PolicyState& state) {
  const double reward = sampled.reward().mean;
  const bool within = !max_kl || sampled.kl().mean <= *max_kl;
  if (std::isfinite(reward) && within && step > 0 &&
      (!state.best_step || reward > state.best_reward)) {
    state.best_step = step;
    state.best_reward = reward;
  }
}

void choose_best_again(const std::filesystem::path& run_dir, std::optional<double> max_kl,
                       PolicyState& state) {
  if (state.best_step && !has_evaluation(run_dir, *state.best_step)) return;
  state.best_step.reset();
  state.best_reward = 0;
  for (const Snapshot& snapshot : list_snapshots(run_dir)) {
    if (snapshot.step > state.step || !has_evaluation(run_dir, snapshot.step)) continue;
    for (const Evaluation& evaluation : read_evaluation(run_dir, snapshot.step)) {
      if (evaluation.decoding == "sampled") consider(evaluation, snapshot.step, max_kl, state);
    }
  }
}

}  // namespace leash

#include "rl/policy/best.h"

#include <fmt/format.h>

#include <cmath>
#include <string>

#include "models/io/snapshot.h"

namespace leash {
namespace {

std::string step_text(std::optional<int64_t> step) {
  return step ? std::to_string(*step) : std::string("none");
}

}  // namespace

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
                       const std::string& section, PolicyState& state, Console& console) {
  const auto before = state.best_step;
  if (before && !(has_evaluation(run_dir, *before) &&
                  std::filesystem::exists(snapshot_of(run_dir, *before).path))) {
    return;
  }
  state.best_step.reset();
  state.best_reward = 0;
  for (const Snapshot& snapshot : list_snapshots(run_dir)) {
    if (snapshot.step > state.step || !has_evaluation(run_dir, snapshot.step)) continue;
    // What could not be exported is no candidate; that the best one is damaged is said later.
    if (snapshot.step != before && snapshot_damage(snapshot.path)) continue;
    for (const Evaluation& evaluation : read_evaluation(run_dir, snapshot.step)) {
      if (evaluation.decoding == "sampled") consider(evaluation, snapshot.step, max_kl, state);
    }
  }
  if (state.best_step == before) return;
  console.message(fmt::format("{}.best_max_kl: the best step so far is {} instead of {}", section,
                              step_text(state.best_step), step_text(before)));
}

}  // namespace leash

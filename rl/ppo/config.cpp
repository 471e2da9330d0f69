#include "rl/ppo/config.h"

#include <algorithm>

namespace leash {

double learning_rate_of(const CriticConfig& critic) {
  if (critic.learning_rate) return *critic.learning_rate;
  const bool separate = critic.kind == CriticKind::separate;
  if (critic.kind == CriticKind::adapter || (separate && critic.train == CriticTrain::lora)) {
    return 1e-4;
  }
  return separate && critic.train == CriticTrain::all ? 1e-5 : 1e-3;
}

double kl_horizon_of(const PpoConfig& ppo) {
  const auto tenth = static_cast<double>(ppo.total_episodes) / 10.0;
  return ppo.kl_horizon.value_or(std::max(tenth, static_cast<double>(ppo.batch_size)));
}

}  // namespace leash

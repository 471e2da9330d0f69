// Runs of reward training on tiny_llama with a byte tokenizer, for tests.
#pragma once

#include "rl/reward_model/trainer.h"
#include "tests/rl/sft/run.h"

namespace leash::testing {

// Runs (or resumes) in `folder`; stops after `last_step` where that is given.
inline SftRun run_reward(const RewardSetup& setup, const std::filesystem::path& folder,
                         int64_t last_step = -1) {
  return run_with<RewardTrainer>(setup, folder, last_step);
}

}  // namespace leash::testing

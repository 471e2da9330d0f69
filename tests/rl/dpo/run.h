// Runs of DPO on tiny_llama with a byte tokenizer, for tests.
#pragma once

#include "rl/dpo/trainer.h"
#include "tests/rl/sft/run.h"

namespace leash::testing {

// Runs (or resumes) in `folder`; stops after `last_step` where that is given.
inline SftRun run_dpo(const DpoSetup& setup, const std::filesystem::path& folder,
                      int64_t last_step = -1) {
  return run_with<DpoTrainer>(setup, folder, last_step);
}

}  // namespace leash::testing

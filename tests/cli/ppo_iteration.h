// The first half of a PPO iteration, outside of the trainer: answers, and what every role says.
#pragma once

#include <vector>

#include "rl/policy/experience.h"
#include "rl/ppo/critic.h"
#include "rl/ppo/shape.h"

namespace leash::testing {

inline Experience sampled_experience(const PpoSetup& setup, const PolicyRoles& roles,
                                     int64_t step) {
  const auto prompts = read_prompts(setup.data.train, roles.tokenizer, prompt_limits(setup, roles));
  Lanes lanes(setup.lanes);
  const std::vector<int64_t> rows =
      PromptOrder(static_cast<int64_t>(prompts.size()), true, 1).next(0, setup.ppo.batch_size);
  std::vector<Prompt> batch;
  for (size_t i = 0; i < rows.size(); ++i) {
    batch.push_back({.ids = prompts[static_cast<size_t>(rows[i])].ids, .sample = i});
  }
  const auto answers = RolloutEngine(roles.decoder, roles.tokenizer)
                           .generate(batch, &roles.policy, generation_config(setup, roles, step),
                                     roles.value_head());
  Experience experience = assemble(judge(answers, prompts, rows, setup, setup.ppo, roles, lanes),
                                   setup.ppo.missing_eos_penalty);
  shape(experience, setup.ppo, setup.ppo.kl_coef);
  return experience;
}

}  // namespace leash::testing

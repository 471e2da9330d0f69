// The first half of a PPO iteration, outside of the trainer: answers, and what every role says.
#pragma once

#include <vector>

#include "rl/ppo_experience.h"

namespace leash::testing {

inline Experience sampled_experience(const PpoSetup& setup, const PpoRoles& roles, int64_t step) {
  const auto prompts = read_prompts(setup.data.train, roles.tokenizer, prompt_limits(setup, roles));
  Lanes lanes(setup.lanes);
  const std::vector<int64_t> rows =
      PromptOrder(static_cast<int64_t>(prompts.size()), true, 1).next(0, setup.ppo.batch_size);
  std::vector<Prompt> batch;
  for (size_t i = 0; i < rows.size(); ++i) {
    batch.push_back({.ids = prompts[static_cast<size_t>(rows[i])].ids, .sample = i});
  }
  const LinearHead* head = roles.critic.kind == CriticKind::shared ? &roles.critic.head : nullptr;
  const auto answers =
      RolloutEngine(roles.decoder, roles.tokenizer)
          .generate(batch, &roles.policy, generation_config(setup, roles, step), head);
  Experience experience = assemble(judge(answers, prompts, rows, setup, roles, lanes), setup.ppo);
  shape(experience, setup.ppo, setup.ppo.kl_coef);
  return experience;
}

}  // namespace leash::testing

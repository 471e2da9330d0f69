// Who takes part in a loop over sampled answers: policy, reference, critic (or none) and reward,
// over one frozen base wherever the recipe allows it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/io/checkpoint.h"
#include "models/tokenizer/tokenizer.h"
#include "rl/data/prompts.h"
#include "rl/policy/config.h"
#include "rl/policy/critic.h"
#include "rl/reference/reference.h"
#include "rl/reward/source.h"
#include "rl/run/snapshot_parts.h"
#include "rollout/engine.h"

namespace leash {

struct PolicyRoles {
  Checkpoint checkpoint;
  std::shared_ptr<const Decoder> decoder;  // the frozen base of the policy
  Tokenizer tokenizer;
  Adapter policy;
  Reference reference;
  std::optional<Critic> critic;
  std::unique_ptr<const RewardSource> reward;
  NumericEnvironment environment{};

  // The head that reads values from the policy's own states; nullptr where there is none.
  const LinearHead* value_head() const {
    return critic && critic->kind == CriticKind::shared ? &critic->head : nullptr;
  }
  std::vector<int64_t> eos_token_ids() const;
};

// Asked for a task's critic when everything but critic and reward is there.
using MakeCritic = std::function<std::optional<Critic>(const PolicyRoles&, Bases&)>;

// With `gathers`, all frozen weights are sharded. ConfigError, FormatError.
PolicyRoles load_policy_roles(const PolicySetup& setup, const PolicyConfig& config,
                              const std::shared_ptr<GatherQueue>& gathers,
                              const MakeCritic& make_critic);

// How answers are sampled, but for seed and step. ConfigError where stop_token is not one token.
GenerationConfig sampling_of(const RolloutConfig& rollout, const Decoder& decoder,
                             const Tokenizer& tokenizer);
// How answers are sampled in iteration `step`. ConfigError where stop_token is not one token.
GenerationConfig generation_config(const PolicySetup& setup, const PolicyRoles& roles,
                                   int64_t step);

// What a prompt may be at most, so that an answer fits behind it.
PromptLimits prompt_limits(const PolicySetup& setup, const PolicyRoles& roles);

// The prompts of a file, each of which the reward can judge answers to. FormatError.
std::vector<PromptRecord> read_policy_prompts(const std::filesystem::path& file,
                                              const PolicySetup& setup, const PolicyRoles& roles);

}  // namespace leash

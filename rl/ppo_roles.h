// Who takes part in PPO: policy, reference, critic and reward, over one frozen base wherever the
// recipe allows it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/decoder.h"
#include "models/heads.h"
#include "models/io/checkpoint.h"
#include "models/model_config.h"
#include "models/tokenizer/tokenizer.h"
#include "rl/data/prompts.h"
#include "rl/devices_config.h"
#include "rl/ppo_config.h"
#include "rl/reward_source.h"
#include "rl/run_config.h"
#include "rl/snapshot_parts.h"
#include "rollout/engine.h"
#include "rollout/lanes.h"

namespace leash {

// Everything that a recipe says about a PPO run.
struct PpoSetup {
  ModelConfig model;
  LoraConfig lora;
  ReferenceConfig reference;
  CriticConfig critic;
  std::vector<RewardConfig> reward;
  DataConfig data;
  RolloutConfig rollout;
  PpoConfig ppo;
  DevicesConfig devices;
  LanesConfig lanes;
  RunConfig run;
};

struct Critic {
  CriticKind kind = CriticKind::shared;
  std::shared_ptr<const Decoder> decoder;  // the shared base, or a model of its own
  std::optional<Adapter> adapter;   // what it trains besides the head; none for `shared` and `head`
  LinearHead head;                  // [1, hidden], trained
  bool backprop_to_policy = false;  // `shared` only

  std::vector<at::Tensor> parameters() const;
  // Whether the head reads states of its own that never change: all there is to compute of an
  // answer, once.
  bool has_frozen_trunk() const { return kind != CriticKind::shared && !adapter; }
};

struct PpoRoles {
  Checkpoint checkpoint;
  std::shared_ptr<const Decoder> decoder;  // the frozen base of the policy
  Tokenizer tokenizer;
  Adapter policy;
  std::shared_ptr<const Decoder> reference_decoder;
  std::optional<Adapter> reference_adapter;
  Critic critic;
  std::unique_ptr<const RewardSource> reward;
  NumericEnvironment environment{};

  const Adapter* reference() const { return reference_adapter ? &*reference_adapter : nullptr; }
  std::vector<int64_t> eos_token_ids() const;
};

// What the recipe says, or follows from it: with an adapter to go on from, that adapter is what the
// policy must stay close to.
ReferenceKind reference_kind(const PpoSetup& setup);

// With `gathers`, all frozen weights are divided between the ranks.
PpoRoles load_ppo_roles(const PpoSetup& setup,
                        const std::shared_ptr<GatherQueue>& gathers = nullptr);

// How answers are sampled in iteration `step`. ConfigError where stop_token is not one token.
GenerationConfig generation_config(const PpoSetup& setup, const PpoRoles& roles, int64_t step);

// What a prompt may be at most, so that an answer fits behind it.
PromptLimits prompt_limits(const PpoSetup& setup, const PpoRoles& roles);

// Tokens that end an answer by themselves: what the checkpoint names and what the tokenizer names.
std::vector<int64_t> eos_token_ids(const DecoderConfig& config, const Tokenizer& tokenizer);

}  // namespace leash

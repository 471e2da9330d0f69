// The frozen reference that a policy is kept close to.
#pragma once

#include <c10/core/Device.h>

#include <memory>
#include <optional>
#include <string>

#include "models/decoder/decoder.h"
#include "models/lora/lora.h"
#include "rl/reference/bases.h"
#include "rl/reference/config.h"
#include "rl/reference/second_model.h"

namespace leash {

// How a reference comes after the policy (TR-DPO: Gorbatovski et al. 2024; TRL's
// SyncRefModelCallback).
struct FollowRules {
  double mixup_alpha = 0.6;
  int64_t sync_steps = 512;  // iterations
};

struct Reference {
  std::shared_ptr<const Decoder> decoder;   // the shared base, or a model of its own
  std::optional<Adapter> adapter;           // frozen
  std::optional<FollowRules> follows = {};  // then there is an adapter

  // As Decoder::forward takes it: nullptr for the decoder alone.
  const Adapter* adapter_or_none() const { return adapter ? &*adapter : nullptr; }
};

// What the recipe says, or follows from it: with an adapter to go on from, that adapter is what the
// policy must stay close to.
ReferenceKind reference_kind(const ReferenceConfig& config, const LoraConfig& lora);

// The policy that a reference stands beside, before its first step.
struct ReferencePolicy {
  FirstModel model;
  const Adapter& adapter;
  const LoraConfig& lora;
  Quantize quantize = Quantize::none;
  bool can_be_followed = false;  // whether the task calls follow()
};
// ConfigError, FormatError. With `gathers`, the weights of a model of its own are sharded.
Reference load_reference(const ReferenceConfig& config, const ReferencePolicy& policy,
                         at::Device device, Bases& bases,
                         const std::shared_ptr<GatherQueue>& gathers);

// reference ← α policy + (1 - α) reference, of every number that an adapter holds; nothing where
// the reference does not follow, or not after this step (1, 2, …). With LoRA the update B A of the
// mix is α B A + (1 - α) B' A' - α (1 - α) (B - B') (A - A').
void follow(Reference& reference, const Adapter& policy, int64_t step);

// The fingerprint of what is loaded besides the base; nullopt where nothing is. FormatError
// when a file cannot be read.
std::optional<std::string> reference_fingerprint(const ReferenceConfig& config,
                                                 const LoraConfig& lora);

}  // namespace leash

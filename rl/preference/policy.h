// A policy that learns from judged answers beside a frozen reference.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/weights/gather_queue.h"
#include "rl/data/chat_config.h"
#include "rl/reference/reference.h"
#include "rl/run/devices_config.h"
#include "rl/run/snapshot_parts.h"
#include "rl/training/memory.h"
#include "rl/training/parts.h"

namespace leash {

struct PolicyBesideReference {
  TrainedModel model;
  Reference reference;  // on the model's device
};

// What a recipe says about both.
struct PolicySource {
  const ModelConfig& model;
  const LoraConfig& lora;
  const ReferenceConfig& reference;
  const ModelDevice& devices;
  const ChatConfig& chat;
  DataFiles data;
  int64_t seed = 0;
};
template <class Setup>
PolicySource policy_source(const Setup& setup) {
  return {.model = setup.model,
          .lora = setup.lora,
          .reference = setup.reference,
          .devices = setup.devices,
          .chat = setup.data.chat,
          .data = {setup.data.train, setup.data.eval},
          .seed = setup.run.seed};
}

// ConfigError, FormatError. A snapshot of the run refuses another reference. With `gathers`, frozen
// weights are sharded between the ranks.
PolicyBesideReference load_policy(const PolicySource& source,
                                  const std::shared_ptr<GatherQueue>& gathers = nullptr);

// Tokens that policy and reference can both read; `checkpoint` is the policy's.
int64_t common_context(const Checkpoint& checkpoint, const PolicySource& source);

// Weights, and what trains with its gradients.
std::vector<MemoryUse> memory_uses(const PolicyBesideReference& policy);

}  // namespace leash

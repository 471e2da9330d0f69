#include "rl/reference/reference.h"

#include <c10/util/Exception.h>

#include "models/errors.h"
#include "models/io/fingerprint.h"
#include "models/lora/base_identity.h"
#include "models/lora/peft_adapter.h"

namespace leash {

ReferenceKind reference_kind(const ReferenceConfig& config, const LoraConfig& lora) {
  return config.kind.value_or(lora.path ? ReferenceKind::adapter : ReferenceKind::adapter_off);
}

Reference load_reference(const ReferenceConfig& config, const ReferencePolicy& policy,
                         at::Device device, Bases& bases,
                         const std::shared_ptr<GatherQueue>& gathers) {
  switch (reference_kind(config, policy.lora)) {
    case ReferenceKind::adapter_off:
      break;
    case ReferenceKind::adapter: {
      if (config.path) require_same_base(config.path->name, policy.model.decoder.identity());
      Reference reference{.decoder = bases.on(device), .adapter = {}};
      const Adapter adapter = config.path
                                  ? load_adapter(config.path->name, policy.model.decoder.modules())
                                  : policy.adapter.clone();
      reference.adapter = adapter.to(device);
      reference.adapter->set_trainable(false);
      return reference;
    }
    case ReferenceKind::model:
      return {.decoder = load_second_model(*config.path, policy.model, policy.quantize, device,
                                           gathers, "reference.path"),
              .adapter = {}};
    case ReferenceKind::follow: {
      if (!policy.can_be_followed) {
        throw ConfigError("reference.kind: follow is for the tasks over sampled answers");
      }
      Reference reference{.decoder = bases.on(device),
                          .adapter = policy.adapter.clone().to(device),
                          .follows = FollowRules{config.mixup_alpha, config.sync_steps}};
      reference.adapter->set_trainable(false);
      return reference;
    }
  }
  return {.decoder = bases.on(device), .adapter = {}};
}

void follow(Reference& reference, const Adapter& policy, int64_t step) {
  if (!reference.follows || step % reference.follows->sync_steps != 0) return;
  const double alpha = reference.follows->mixup_alpha;
  const auto from = policy.named_tensors();
  const auto into = reference.adapter->named_tensors();
  TORCH_CHECK(from.size() == into.size(), "policy and reference have other tensors");
  for (size_t i = 0; i < into.size(); ++i) {
    at::Tensor target = into[i].second.detach();
    target.mul_(1.0 - alpha).add_(from[i].second.detach().to(target.device()), alpha);
  }
}

std::optional<std::string> reference_fingerprint(const ReferenceConfig& config,
                                                 const LoraConfig& lora) {
  switch (reference_kind(config, lora)) {
    case ReferenceKind::adapter_off:
      break;
    case ReferenceKind::adapter:
      if (config.path) return adapter_fingerprint(config.path->name);
      if (lora.path) return adapter_fingerprint(*lora.path);
      break;
    case ReferenceKind::model:
      return fingerprint(resolve_model(*config.path));
    case ReferenceKind::follow:
      return "follows the policy";  // what it is stands in the snapshot
  }
  return std::nullopt;
}

}  // namespace leash

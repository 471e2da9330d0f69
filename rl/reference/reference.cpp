#include "rl/reference/reference.h"

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
  }
  return {.decoder = bases.on(device), .adapter = {}};
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
  }
  return std::nullopt;
}

}  // namespace leash

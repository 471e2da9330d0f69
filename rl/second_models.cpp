#include "rl/second_models.h"

#include <fmt/format.h>

#include "models/io/fingerprint.h"
#include "rl/ppo_roles.h"

namespace leash {

std::map<std::string, std::string> second_models(const PpoSetup& setup) {
  std::map<std::string, std::string> models;
  switch (reference_kind(setup)) {
    case ReferenceKind::adapter_off:
      break;
    case ReferenceKind::adapter:
      if (setup.reference.path) {
        models["reference"] = adapter_fingerprint(setup.reference.path->name);
      } else if (setup.lora.path) {
        models["reference"] = adapter_fingerprint(*setup.lora.path);
      }
      break;
    case ReferenceKind::model:
      models["reference"] = fingerprint(resolve_model(*setup.reference.path));
  }
  if (setup.critic.kind == CriticKind::separate) {
    models["critic"] = fingerprint(resolve_model(setup.critic.path.value_or(setup.model.path)));
  }
  for (size_t i = 0; i < setup.reward.size(); ++i) {
    const RewardConfig& reward = setup.reward[i];
    const std::string role = fmt::format("reward[{}]", i);
    if (reward.kind == RewardKind::adapter) models[role] = adapter_fingerprint(reward.path->name);
    if (reward.kind == RewardKind::model) {
      models[role] = fmt::format("{}, quantize {}", fingerprint(resolve_model(*reward.path)),
                                 enum_name(reward.quantize));
    }
  }
  return models;
}

}  // namespace leash

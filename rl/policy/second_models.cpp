#include "rl/policy/second_models.h"

#include <fmt/format.h>

#include "models/io/checkpoint.h"
#include "models/io/fingerprint.h"
#include "rl/reference/reference.h"

namespace leash {

std::map<std::string, std::string> second_models(const PolicySetup& setup) {
  std::map<std::string, std::string> models;
  if (const auto reference = reference_fingerprint(setup.reference, setup.lora)) {
    models["reference"] = *reference;
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

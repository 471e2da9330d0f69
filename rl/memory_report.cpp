#include "rl/memory_report.h"

#include <fmt/format.h>

namespace leash {
namespace {

// Parameters and gradients of one role's leaves; AdamW keeps two more numbers for each.
MemoryUse trained_use(const std::string& who, const std::vector<at::Tensor>& leaves) {
  MemoryUse use{.who = who, .device = {}, .bytes = 0};
  for (const at::Tensor& leaf : leaves) {
    use.device = leaf.device().str();
    use.bytes += 2 * static_cast<int64_t>(leaf.nbytes());
  }
  return use;
}

class Uses {
 public:
  void weights(const std::string& who, const Decoder& decoder) {
    for (auto& [known, use] : by_decoder_) {
      if (known != &decoder) continue;
      use.who += " and " + who;
      return;
    }
    by_decoder_.push_back(
        {&decoder,
         {.who = who, .device = decoder.device().str(), .bytes = decoder.weight_bytes()}});
  }
  void add(MemoryUse use) { others_.push_back(std::move(use)); }
  std::vector<MemoryUse> all() const {
    std::vector<MemoryUse> uses;
    for (const auto& [decoder, use] : by_decoder_) {
      uses.push_back(use);
      uses.back().who = "weights of " + use.who;
    }
    uses.insert(uses.end(), others_.begin(), others_.end());
    return uses;
  }

 private:
  std::vector<std::pair<const Decoder*, MemoryUse>> by_decoder_;
  std::vector<MemoryUse> others_;
};

}  // namespace

std::vector<MemoryUse> memory_uses(const PpoRoles& roles) {
  Uses uses;
  uses.weights("policy", *roles.decoder);
  uses.weights("reference", *roles.reference_decoder);
  uses.weights("critic", *roles.critic.decoder);
  uses.add(trained_use("the policy's adapter and gradients", roles.policy.parameters()));
  uses.add(trained_use("what the critic trains", roles.critic.parameters()));
  if (roles.reward != nullptr) {
    for (MemoryUse& use : roles.reward->memory()) uses.add(std::move(use));
  }
  return uses.all();
}

std::vector<MemoryUse> memory_uses(const TrainedModel& model) {
  Uses uses;
  uses.weights("the model", *model.decoder);
  uses.add(trained_use("the adapter and its gradients", model.adapter.parameters()));
  return uses.all();
}

std::vector<std::string> settings_to_lower(const PpoSetup& setup, PpoPhase phase) {
  const std::string rows = fmt::format("ppo.micro_batch_tokens ({})", setup.ppo.micro_batch_tokens);
  std::vector<std::string> settings;
  switch (phase) {
    case PpoPhase::sampling:
      settings = {fmt::format("rollout.max_batch ({})", setup.rollout.max_batch),
                  fmt::format("rollout.response_length ({})", setup.rollout.response_length)};
      break;
    case PpoPhase::scoring:
      settings = {rows};
      break;
    case PpoPhase::update:
      settings = {rows};
      if (!setup.model.gradient_checkpointing)
        settings.emplace_back("the kept activations with model.gradient_checkpointing: true");
  }
  if (setup.model.quantize == Quantize::none)
    settings.emplace_back("the weights' size with model.quantize: nf4");
  return settings;
}

std::vector<std::string> settings_to_lower(const TrainingConfig& config) {
  return {fmt::format("micro_batch_tokens ({})", config.micro_batch_tokens),
          "the kept activations with model.gradient_checkpointing: true",
          "the weights' size with model.quantize: nf4"};
}

}  // namespace leash

#include "rl/memory_report.h"

#include <fmt/format.h>

#include <algorithm>

namespace leash {
namespace {

// One role's leaves with gradients and moments: four numbers where there is one (8-bit optimizers
// keep less).
MemoryUse trained_use(const std::string& who, const std::vector<at::Tensor>& leaves) {
  MemoryUse use{.who = who, .device = {}, .bytes = 0};
  for (const at::Tensor& leaf : leaves) {
    use.device = leaf.device().str();
    use.bytes += 4 * static_cast<int64_t>(leaf.nbytes());
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
  uses.add(trained_use("the policy's adapter, gradients and moments", roles.policy.parameters()));
  uses.add(trained_use("what the critic trains, gradients and moments", roles.critic.parameters()));
  if (roles.reward != nullptr) {
    for (MemoryUse& use : roles.reward->memory()) uses.add(std::move(use));
  }
  return uses.all();
}

std::vector<MemoryUse> memory_uses(const PpoRoles& roles, const PpoSetup& setup,
                                   const std::vector<Prompt>& prompts) {
  std::vector<MemoryUse> uses = memory_uses(roles);
  const DecoderConfig& config = roles.decoder->config();
  int64_t longest = 0;
  for (const Prompt& prompt : prompts) longest = std::max<int64_t>(longest, std::ssize(prompt.ids));
  const int64_t sequences = std::min<int64_t>(setup.rollout.max_batch, std::ssize(prompts));
  const int64_t numbers = 2 * config.num_layers * config.num_kv_heads * config.head_dim;
  uses.push_back({.who = "keys and values of sampling",
                  .device = roles.decoder->device().str(),
                  .bytes = sequences * (longest + setup.rollout.response_length) * numbers *
                           static_cast<int64_t>(c10::elementSize(roles.decoder->dtype()))});
  return uses;
}

std::vector<MemoryUse> memory_uses(const TrainedModel& model) {
  Uses uses;
  uses.weights("the model", *model.decoder);
  uses.add(trained_use("the adapter, its gradients and moments", model.adapter.parameters()));
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

std::vector<std::string> settings_to_lower(const ModelConfig& model, const RunConfig& run,
                                           bool several_roles) {
  if (run.fsdp == Fsdp::full_shard)
    return {"each process's part of the weights with more processes"};
  std::vector<std::string> settings;
  if (model.quantize == Quantize::none) {
    settings.emplace_back("the weights' size with model.quantize: nf4");
    settings.emplace_back("each process's part of them with run.fsdp: full_shard");
  }
  if (several_roles) settings.emplace_back("what one device holds with devices: roles on several");
  return settings;
}

std::vector<std::string> settings_to_lower(const TrainingConfig& config) {
  return {fmt::format("micro_batch_tokens ({})", config.micro_batch_tokens),
          "the kept activations with model.gradient_checkpointing: true",
          "the weights' size with model.quantize: nf4"};
}

}  // namespace leash

#include "rl/training/memory.h"

#include <fmt/format.h>

namespace leash {
MemoryUse trained_use(const std::string& who, const std::vector<at::Tensor>& leaves) {
  MemoryUse use{.who = who, .device = {}, .bytes = 0};
  for (const at::Tensor& leaf : leaves) {
    use.device = leaf.device().str();
    use.bytes += 4 * static_cast<int64_t>(leaf.nbytes());
  }
  return use;
}

void MemoryUses::weights(const std::string& who, const Decoder& decoder) {
  for (auto& [known, use] : by_decoder_) {
    if (known != &decoder) continue;
    use.who += " and " + who;
    return;
  }
  by_decoder_.push_back(
      {&decoder, {.who = who, .device = decoder.device().str(), .bytes = decoder.weight_bytes()}});
}

std::vector<MemoryUse> MemoryUses::all() const {
  std::vector<MemoryUse> uses;
  for (const auto& [decoder, use] : by_decoder_) {
    uses.push_back(use);
    uses.back().who = "weights of " + use.who;
  }
  uses.insert(uses.end(), others_.begin(), others_.end());
  return uses;
}

std::vector<MemoryUse> memory_uses(const TrainedModel& model) {
  MemoryUses uses;
  uses.weights("the model", *model.decoder);
  uses.add(trained_use("the adapter, its gradients and moments", model.adapter.parameters()));
  return uses.all();
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

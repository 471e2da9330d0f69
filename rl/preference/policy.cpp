#include "rl/preference/policy.h"

#include <algorithm>

#include "models/decoder/start_adapter.h"
#include "models/device/device.h"

namespace leash {

PolicyBesideReference load_policy(const PolicySource& source,
                                  const std::shared_ptr<GatherQueue>& gathers) {
  const Checkpoint checkpoint = open_checkpoint(resolve_model(source.model.path));
  const at::Device device = source.devices.device();
  const auto decoder = Decoder::load(checkpoint, {.dtype = scalar_type(source.model.dtype, device),
                                                  .quantize = source.model.quantize,
                                                  .device = device,
                                                  .gathers = gathers});
  PolicyBesideReference policy{
      .model = {.checkpoint = checkpoint,
                .decoder = decoder,
                .tokenizer = load_chat_tokenizer(checkpoint.path, source.chat),
                .adapter = start_adapter(source.lora, *decoder, static_cast<uint64_t>(source.seed)),
                .environment =
                    NumericEnvironment::current(checkpoint, source.model, device, source.data)},
      .reference = {}};
  Bases bases(checkpoint, decoder, source.model.quantize);
  policy.reference = load_reference(source.reference,
                                    {.model = {*decoder, policy.model.tokenizer},
                                     .adapter = policy.model.adapter,
                                     .lora = source.lora,
                                     .quantize = source.model.quantize},
                                    device, bases, gathers);
  if (const auto reference = reference_fingerprint(source.reference, source.lora)) {
    policy.model.environment.others["reference"] = *reference;
  }
  return policy;
}

int64_t common_context(const Checkpoint& checkpoint, const PolicySource& source) {
  const int64_t own = checkpoint.config.max_positions;
  if (reference_kind(source.reference, source.lora) != ReferenceKind::model) return own;
  const Checkpoint reference = open_checkpoint(resolve_model(*source.reference.path));
  return std::min(own, reference.config.max_positions);
}

std::vector<MemoryUse> memory_uses(const PolicyBesideReference& policy) {
  MemoryUses uses;
  uses.weights("the model", *policy.model.decoder);
  uses.weights("the reference", *policy.reference.decoder);
  uses.add(
      trained_use("the adapter, its gradients and moments", policy.model.adapter.parameters()));
  return uses.all();
}

}  // namespace leash

#include "models/decoder/start_adapter.h"

#include "models/lora/peft_adapter.h"

namespace leash {

Adapter fresh_adapter(const LoraConfig& config, const Decoder& decoder, uint64_t seed) {
  const BaseValues base_values = [&](int64_t module, bool bias) {
    return decoder.base_value(module, bias);
  };
  const Adapter adapter =
      Adapter::create(config, decoder.modules(), seed, base_values).to(decoder.device());
  return decoder.dtype() == at::kDouble ? adapter.to(at::kDouble) : adapter;
}

Adapter start_adapter(const LoraConfig& config, const Decoder& decoder, uint64_t seed) {
  Adapter adapter = config.path ? load_adapter(*config.path, decoder.modules()).to(decoder.device())
                                : fresh_adapter(config, decoder, seed);
  if (config.path && decoder.dtype() == at::kDouble) adapter = adapter.to(at::kDouble);
  adapter.set_trainable(true);
  return adapter;
}

}  // namespace leash

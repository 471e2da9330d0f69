#include "models/decoder/start_adapter.h"

#include <fmt/format.h>

#include "models/lora/base_identity.h"
#include "models/lora/peft_adapter.h"
#include "models/notices.h"

namespace leash {

void say_if_tied(const Adapter& adapter, const Decoder& decoder) {
  if (!decoder.config().tie_word_embeddings) return;
  for (size_t i = 0; i < adapter.modules().size(); ++i) {
    const ModuleInfo& info = adapter.modules()[i];
    const auto module = static_cast<int64_t>(i);
    const bool shared = info.role == ModuleRole::embedding || info.role == ModuleRole::lm_head;
    const bool adapted = adapter.lora(module) != nullptr || adapter.weight_copy(module) != nullptr;
    if (!shared || !adapted) continue;
    notice_once(fmt::format(
        "warning: the adapter changes {}, whose weight the model shares between embedding and "
        "lm_head (tie_word_embeddings: true): the other one keeps the base's, here as in PEFT; "
        "merging such an adapter, or converting the model, can go wrong",
        info.path));
  }
}

Adapter fresh_adapter(const LoraConfig& config, const Decoder& decoder, uint64_t seed) {
  const BaseValues base_values = [&](int64_t module, bool bias) {
    return decoder.base_value(module, bias);
  };
  const Adapter adapter =
      Adapter::create(config, decoder.modules(), seed, base_values).to(decoder.device());
  say_if_tied(adapter, decoder);
  return decoder.dtype() == at::kDouble ? adapter.to(at::kDouble) : adapter;
}

Adapter start_adapter(const LoraConfig& config, const Decoder& decoder, uint64_t seed) {
  if (config.path) require_same_base(*config.path, decoder.identity());
  Adapter adapter = config.path ? load_adapter(*config.path, decoder.modules()).to(decoder.device())
                                : fresh_adapter(config, decoder, seed);
  if (config.path && decoder.dtype() == at::kDouble) adapter = adapter.to(at::kDouble);
  adapter.set_trainable(true);
  return adapter;
}

}  // namespace leash

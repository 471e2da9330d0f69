#include "models/decoder/score_head.h"

#include <c10/util/Exception.h>

#include "models/decoder/start_adapter.h"
#include "models/errors.h"
#include "models/io/safetensors.h"
#include "models/lora/base_identity.h"
#include "models/lora/peft_adapter.h"
#include "models/random/random.h"

namespace leash {
namespace {

at::Tensor fresh_head(const Decoder& decoder, const Checkpoint& checkpoint, uint64_t seed,
                      int64_t outputs) {
  const int64_t hidden = decoder.config().hidden_size;
  if (checkpoint.tensors->contains("score.weight")) {
    LinearHead head = LinearHead::load(checkpoint);
    if (head.weight.size(0) == outputs) return head.weight;
  }
  return normal_tensor({.seed = seed, .purpose = Purpose::head_init}, {outputs, hidden}, 0.0,
                       decoder.config().initializer_range);
}

int64_t score_index(const Adapter& adapter) {
  TORCH_CHECK(!adapter.modules().empty() && adapter.modules().back().role == ModuleRole::score,
              "the adapter's modules end with score");
  return static_cast<int64_t>(adapter.modules().size()) - 1;
}

// The same tensors in an adapter whose configuration asks for the head as well.
Adapter as_classifier(const Adapter& adapter) {
  LoraConfig config = adapter.config();
  config.task_type = TaskType::SEQ_CLS;
  config.modules_to_save = effective_modules_to_save(config);
  Adapter result(config, adapter.modules());
  for (int64_t module = 0; module < static_cast<int64_t>(adapter.modules().size()); ++module) {
    if (const LoraWeights* lora = adapter.lora(module)) result.set_lora(module, *lora);
    if (const at::Tensor* weight = adapter.weight_copy(module))
      result.set_weight_copy(module, *weight);
    if (const at::Tensor* bias = adapter.bias_copy(module)) result.set_bias_copy(module, *bias);
  }
  return result;
}

}  // namespace

std::vector<ModuleInfo> modules_with_score(const Decoder& decoder, int64_t outputs) {
  std::vector<ModuleInfo> modules = decoder.modules();
  modules.push_back(score_module(decoder.config().hidden_size, outputs));
  return modules;
}

LinearHead score_head(const Adapter& adapter) {
  const at::Tensor* weight = adapter.weight_copy(score_index(adapter));
  TORCH_CHECK(weight != nullptr, "the adapter has no score head");
  return {.weight = *weight};
}

Adapter start_score_adapter(const LoraConfig& config, const Decoder& decoder,
                            const Checkpoint& checkpoint, uint64_t seed, int64_t outputs) {
  const std::vector<ModuleInfo> modules = modules_with_score(decoder, outputs);
  const auto score = static_cast<int64_t>(modules.size()) - 1;
  const BaseValues base_values = [&](int64_t module, bool bias) {
    return module == score ? fresh_head(decoder, checkpoint, seed, outputs)
                           : decoder.base_value(module, bias);
  };
  if (config.path) require_same_base(*config.path, decoder.identity());
  Adapter adapter = config.path ? load_adapter(*config.path, modules)
                                : Adapter::create(config, modules, seed, base_values);
  if (adapter.weight_copy(score) == nullptr) {
    adapter = as_classifier(adapter);
    adapter.set_weight_copy(score, trainable_leaf(fresh_head(decoder, checkpoint, seed, outputs)));
  }
  if (!config.path) say_if_tied(adapter, decoder);
  adapter = adapter.to(decoder.device());
  if (decoder.dtype() == at::kDouble) adapter = adapter.to(at::kDouble);
  adapter.set_trainable(true);
  return adapter;
}

std::optional<int64_t> score_outputs(const std::filesystem::path& folder) {
  const auto file = folder / "adapter_model.safetensors";
  if (!std::filesystem::exists(file)) return std::nullopt;  // loading it says what is missing
  const auto tensors = open_safetensors(file);
  const std::string name = "base_model.model.score.weight";
  if (!tensors->contains(name)) return std::nullopt;
  const std::vector<int64_t> shape = tensors->shape(name);
  if (shape.size() != 2 || shape[0] < 1) {
    throw FormatError(file.string() + ": score.weight is no head of [outputs, hidden]");
  }
  return shape[0];
}

Adapter load_score_adapter(const std::filesystem::path& folder, const Decoder& decoder,
                           int64_t outputs) {
  require_same_base(folder, decoder.identity());
  Adapter adapter = load_adapter(folder, modules_with_score(decoder, outputs));
  if (adapter.weight_copy(score_index(adapter)) == nullptr) {
    throw FormatError(folder.string() +
                      ": the adapter has no score head; a reward adapter is what `task: reward` "
                      "trains (task_type SEQ_CLS)");
  }
  adapter = adapter.to(decoder.device());
  if (decoder.dtype() == at::kDouble) adapter = adapter.to(at::kDouble);
  adapter.set_trainable(false);
  return adapter;
}

}  // namespace leash

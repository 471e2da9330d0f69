#include "rl/plan/trained_facts.h"

#include <algorithm>

#include "models/io/safetensors.h"
#include "models/lora/peft_adapter.h"

namespace leash {
namespace {

constexpr int64_t kStepBytes = 8;  // a tensor's count of updates

// Two moments in bytes, and a float32 scale for each block of them; float32 in small tensors.
int64_t moments_8bit(int64_t count) {
  if (count < kMin8bitElements) return 2 * 4 * count;
  return 2 * (count + 4 * ((count + kBlockSize8bit - 1) / kBlockSize8bit));
}

// Averages over rows and over columns of a matrix, of every number of a vector. float32.
int64_t adafactor_averages(const std::vector<int64_t>& shape) {
  return 4 * (shape.size() == 2 ? shape[0] + shape[1] : numel(shape));
}

}  // namespace

bool AdapterFacts::touches(int64_t module) const {
  const auto index = static_cast<size_t>(module);
  return index < ranks.size() && (ranks[index] > 0 || weight_copies[index]);
}

int64_t AdapterFacts::num_parameters() const {
  int64_t sum = 0;
  for (const auto& shape : shapes) sum += numel(shape);
  return sum;
}

int64_t AdapterFacts::largest() const {
  int64_t most = 0;
  for (const auto& shape : shapes) most = std::max(most, numel(shape));
  return most;
}

AdapterFacts adapter_facts(const LoraConfig& written, const std::vector<ModuleInfo>& modules) {
  const LoraConfig config =
      written.path ? read_adapter_config(*written.path) : with_trainable_paths(written, modules);
  const LoraMatches matches =
      match_modules(config, modules, written.path ? Unmatched::ignore : Unmatched::error);
  AdapterFacts facts{.ranks = std::vector<int64_t>(modules.size(), 0),
                     .weight_copies = std::vector<bool>(modules.size(), false),
                     .dropout = config.lora_dropout};
  std::vector<bool> biases(modules.size(), false);
  for (const LoraTarget& target : matches.targets) facts.ranks[target.module] = target.r;
  for (const int64_t module : matches.weight_copies) facts.weight_copies[module] = true;
  for (const int64_t module : matches.bias_copies) biases[module] = true;
  for (size_t i = 0; i < modules.size(); ++i) {
    if (facts.weight_copies[i]) facts.shapes.push_back(weight_shape(modules[i]));
    if (biases[i]) facts.shapes.push_back(bias_shape(modules[i]));
    if (biases[i] && !facts.weight_copies[i])
      facts.counted_in_base += numel(bias_shape(modules[i]));
    if (facts.ranks[i] == 0) continue;
    facts.shapes.push_back({facts.ranks[i], modules[i].in_features});
    facts.shapes.push_back({modules[i].out_features, facts.ranks[i]});
  }
  return facts;
}

AdapterFacts full_copy_facts(const std::vector<ModuleInfo>& modules) {
  AdapterFacts facts{.ranks = std::vector<int64_t>(modules.size(), 0),
                     .weight_copies = std::vector<bool>(modules.size(), false)};
  for (size_t i = 0; i < modules.size(); ++i) {
    if (modules[i].role == ModuleRole::lm_head) continue;
    facts.weight_copies[i] = true;
    facts.shapes.push_back(weight_shape(modules[i]));
    if (modules[i].has_bias) facts.shapes.push_back(bias_shape(modules[i]));
  }
  return facts;
}

int64_t optimizer_bytes(OptimizerKind kind, const std::vector<std::vector<int64_t>>& shapes,
                        int64_t element) {
  int64_t sum = 0;
  for (const auto& shape : shapes) {
    switch (kind) {
      case OptimizerKind::adamw_torch:
        sum += 2 * element * numel(shape) + kStepBytes;
        break;
      case OptimizerKind::adamw_8bit:
      case OptimizerKind::paged_adamw_8bit:
        sum += moments_8bit(numel(shape)) + kStepBytes;
        break;
      case OptimizerKind::adafactor:
        sum += adafactor_averages(shape) + kStepBytes;
        break;
      case OptimizerKind::sgd:
        break;
    }
  }
  return sum;
}

int64_t parameters_of_file(const std::filesystem::path& folder) {
  const auto tensors = open_safetensors(folder / "adapter_model.safetensors");
  int64_t sum = 0;
  for (const std::string& name : tensors->names()) sum += numel(tensors->shape(name));
  return sum;
}

}  // namespace leash

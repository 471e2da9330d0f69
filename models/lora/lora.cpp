// Adapters as values: making them, naming their tensors, counting them.
#include "models/lora/lora.h"

#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "models/grouped_digits.h"
#include "models/random/random.h"

namespace leash {
namespace {

// Every trainable tensor is made here: contiguous, with storage of its own, and a leaf.
// (at::zeros(…, requires_grad) would drop the flag silently.)
at::Tensor leaf(const at::Tensor& values, at::Device device, at::ScalarType dtype, bool trainable) {
  at::Tensor copy =
      values.detach().to(device, dtype, /*non_blocking=*/false, /*copy=*/true).contiguous();
  copy.requires_grad_(trainable);
  return copy;
}

// FNV-1a: a module's random numbers follow its path, not its position in the decoder's list.
uint64_t path_hash(std::string_view path) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : path) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

LoraWeights fresh_weights(const LoraConfig& config, const LoraTarget& target,
                          const ModuleInfo& module, uint64_t seed) {
  const DrawKey key{.seed = seed, .purpose = Purpose::lora_init, .a = path_hash(module.path)};
  const std::vector<int64_t> shape = {target.r, module.in_features};
  LoraWeights weights;
  switch (config.init_lora_weights) {
    case LoraInit::kaiming: {
      // kaiming_uniform with a = sqrt(5): the gain sqrt(2 / (1 + 5)) and the factor sqrt(3) cancel.
      const double bound = 1.0 / std::sqrt(static_cast<double>(module.in_features));
      weights.a = trainable_leaf(uniform_tensor(key, shape, -bound, bound));
      break;
    }
    case LoraInit::gaussian:
      weights.a =
          trainable_leaf(normal_tensor(key, shape, 0.0, 1.0 / static_cast<double>(target.r)));
      break;
  }
  weights.b = trainable_leaf(at::zeros({module.out_features, target.r}, at::kFloat));
  weights.scaling = lora_scaling(config, target);
  return weights;
}

}  // namespace

at::Tensor trainable_leaf(const at::Tensor& values) {
  return leaf(values, values.device(), at::kFloat, true);
}

std::vector<int64_t> weight_shape(const ModuleInfo& module) {
  switch (module.kind) {
    case ModuleKind::linear:
      return {module.out_features, module.in_features};
    case ModuleKind::embedding:
      return {module.in_features, module.out_features};
    case ModuleKind::norm:
      return {module.in_features};
  }
  return {};
}

std::vector<int64_t> file_weight_shape(const ModuleInfo& module) {
  std::vector<int64_t> shape = weight_shape(module);
  if (module.transposed) std::ranges::reverse(shape);
  return shape;
}

std::vector<int64_t> bias_shape(const ModuleInfo& module) { return {module.out_features}; }

Adapter Adapter::create(const LoraConfig& written, const std::vector<ModuleInfo>& modules,
                        uint64_t seed, const BaseValues& base_values) {
  const LoraConfig config = with_trainable_paths(written, modules);
  const LoraMatches matches = match_modules(config, modules);
  Adapter adapter(config, modules);
  adapter.config_.modules_to_save = effective_modules_to_save(config);
  for (const LoraTarget& target : matches.targets) {
    const ModuleInfo& module = modules[static_cast<size_t>(target.module)];
    adapter.set_lora(target.module, fresh_weights(config, target, module, seed));
  }
  TORCH_CHECK(base_values || (matches.weight_copies.empty() && matches.bias_copies.empty()),
              "Adapter::create: bias and modules_to_save need the base's values");
  for (const int64_t module : matches.weight_copies) {
    adapter.set_weight_copy(module, trainable_leaf(base_values(module, false)));
  }
  for (const int64_t module : matches.bias_copies) {
    adapter.set_bias_copy(module, trainable_leaf(base_values(module, true)));
  }
  return adapter;
}

Adapter::Adapter(LoraConfig config, std::vector<ModuleInfo> modules)
    : config_(std::move(config)),
      modules_(std::move(modules)),
      lora_(modules_.size()),
      weight_copies_(modules_.size()),
      bias_copies_(modules_.size()) {}

namespace {

template <class T>
const T* find(const std::vector<std::optional<T>>& entries, int64_t module) {
  TORCH_CHECK(module >= 0 && static_cast<size_t>(module) < entries.size(), "no module ", module);
  const auto& entry = entries[static_cast<size_t>(module)];
  return entry ? &*entry : nullptr;
}

void check_shape(const ModuleInfo& module, const char* what, const at::Tensor& tensor,
                 at::IntArrayRef shape) {
  TORCH_CHECK(tensor.defined() && tensor.sizes() == shape, module.path, ": ", what, " must be ",
              shape);
}

}  // namespace

const LoraWeights* Adapter::lora(int64_t module) const { return find(lora_, module); }
const at::Tensor* Adapter::weight_copy(int64_t module) const {
  return find(weight_copies_, module);
}
const at::Tensor* Adapter::bias_copy(int64_t module) const { return find(bias_copies_, module); }

void Adapter::set_lora(int64_t module, LoraWeights weights) {
  const ModuleInfo& info = modules_.at(static_cast<size_t>(module));
  TORCH_CHECK(info.kind == ModuleKind::linear, info.path, " is not a linear layer");
  TORCH_CHECK(weights.a.defined() && weights.a.dim() == 2, info.path, ": A must be [r, in]");
  const int64_t r = weights.a.size(0);
  check_shape(info, "A", weights.a, {r, info.in_features});
  check_shape(info, "B", weights.b, {info.out_features, r});
  lora_[static_cast<size_t>(module)] = std::move(weights);
}

void Adapter::set_weight_copy(int64_t module, at::Tensor weight) {
  const ModuleInfo& info = modules_.at(static_cast<size_t>(module));
  check_shape(info, "the weight", weight, weight_shape(info));
  weight_copies_[static_cast<size_t>(module)] = std::move(weight);
}

void Adapter::set_bias_copy(int64_t module, at::Tensor bias) {
  const ModuleInfo& info = modules_.at(static_cast<size_t>(module));
  TORCH_CHECK(info.has_bias, info.path, " has no bias");
  check_shape(info, "the bias", bias, bias_shape(info));
  bias_copies_[static_cast<size_t>(module)] = std::move(bias);
}

namespace {

// What a module has of an adapter, under PEFT's names; `whole` is its weight's copy.
void name_tensors(const ModuleInfo& module, const LoraWeights* lora,
                  const std::optional<at::Tensor>& whole, const std::optional<at::Tensor>& bias,
                  std::vector<std::pair<std::string, at::Tensor>>& tensors) {
  const std::string prefix = "base_model.model." + module.path;
  // PEFT moves a module that has an update one level down.
  const std::string own = prefix + (lora != nullptr ? ".base_layer" : "");
  if (whole) tensors.emplace_back(own + ".weight", *whole);
  if (bias) tensors.emplace_back(own + ".bias", *bias);
  if (lora != nullptr) {
    tensors.emplace_back(prefix + ".lora_A.weight", lora->a);
    tensors.emplace_back(prefix + ".lora_B.weight", lora->b);
  }
}

}  // namespace

std::vector<std::pair<std::string, at::Tensor>> Adapter::named_tensors() const {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (size_t i = 0; i < modules_.size(); ++i) {
    const LoraWeights* lora = lora_[i] ? &*lora_[i] : nullptr;
    name_tensors(modules_[i], lora, weight_copies_[i], bias_copies_[i], tensors);
  }
  return tensors;
}

std::vector<std::pair<std::string, at::Tensor>> Adapter::file_tensors() const {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (size_t i = 0; i < modules_.size(); ++i) {
    const LoraWeights* lora = lora_[i] ? &*lora_[i] : nullptr;
    std::optional<at::Tensor> whole = weight_copies_[i];
    if (whole && modules_[i].transposed) whole = whole->detach().t();
    name_tensors(modules_[i], lora, whole, bias_copies_[i], tensors);
  }
  return tensors;
}

std::vector<at::Tensor> Adapter::parameters() const {
  std::vector<at::Tensor> leaves;
  for (auto& [name, tensor] : named_tensors()) {
    if (tensor.requires_grad()) leaves.push_back(tensor);
  }
  return leaves;
}

void Adapter::set_trainable(bool trainable) {
  for (const auto& [name, tensor] : named_tensors()) {
    if (!name.ends_with(".base_layer.weight")) tensor.requires_grad_(trainable);
  }
}

int64_t Adapter::num_parameters() const {
  int64_t count = 0;
  for (const auto& [name, tensor] : named_tensors()) count += tensor.numel();
  return count;
}

Adapter Adapter::clone() const { return copy_as(std::nullopt, std::nullopt); }

Adapter Adapter::to(at::ScalarType dtype) const { return copy_as(dtype, std::nullopt); }

Adapter Adapter::to(at::Device device) const {
  for (const auto& [name, tensor] : named_tensors()) {
    if (tensor.device() != device) return copy_as(std::nullopt, device);
  }
  return *this;
}

Adapter Adapter::copy_as(std::optional<at::ScalarType> dtype,
                         std::optional<at::Device> device) const {
  const auto copied = [&](const at::Tensor& tensor) {
    return leaf(tensor, device.value_or(tensor.device()), dtype.value_or(tensor.scalar_type()),
                tensor.requires_grad());
  };
  Adapter copy(config_, modules_);
  for (size_t i = 0; i < modules_.size(); ++i) {
    if (lora_[i]) {
      copy.lora_[i] = {
          .a = copied(lora_[i]->a), .b = copied(lora_[i]->b), .scaling = lora_[i]->scaling};
    }
    if (weight_copies_[i]) copy.weight_copies_[i] = copied(*weight_copies_[i]);
    if (bias_copies_[i]) copy.bias_copies_[i] = copied(*bias_copies_[i]);
  }
  return copy;
}

std::string trainable_parameters_line(const Adapter& adapter, int64_t base_parameters) {
  int64_t trainable = 0;
  for (const at::Tensor& leaf : adapter.parameters()) trainable += leaf.numel();
  int64_t all = base_parameters + adapter.num_parameters();
  // In PEFT `bias` trains the base's own biases, and the weight under an update is the base's own:
  // neither is counted twice.
  for (size_t i = 0; i < adapter.modules().size(); ++i) {
    const auto module = static_cast<int64_t>(i);
    const at::Tensor* bias = adapter.bias_copy(module);
    const at::Tensor* weight = adapter.weight_copy(module);
    const bool adapted = adapter.lora(module) != nullptr;
    if (bias != nullptr && (adapted || weight == nullptr)) all -= bias->numel();
    if (weight != nullptr && adapted) all -= weight->numel();
  }
  const double percent =
      all > 0 ? 100.0 * static_cast<double>(trainable) / static_cast<double>(all) : 0.0;
  return fmt::format("trainable params: {} || all params: {} || trainable%: {:.4f}",
                     grouped_digits(trainable), grouped_digits(all), percent);
}

}  // namespace leash

#include "rl/report/weight_drift.h"

#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/linalg_eigvalsh.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "models/families/module_info.h"

namespace leash {
namespace {

std::vector<double> doubles_of(const at::Tensor& tensor) {
  const at::Tensor plain = tensor.to(at::kCPU, at::kDouble).contiguous();
  const double* data = plain.const_data_ptr<double>();
  return {data, data + plain.numel()};
}

// Of B A, not below 0; rounding may make a vanishing one negative.
std::vector<double> singular_values(const LoraWeights& lora) {
  const at::Tensor a = lora.a.to(at::kCPU, at::kDouble), b = lora.b.to(at::kCPU, at::kDouble);
  const auto [values, vectors] = at::linalg_eigh(a.mm(a.t()));
  const at::Tensor root =
      vectors.mul(values.clamp_min(0).sqrt().unsqueeze(0)).mm(vectors.t());  // symmetric
  std::vector<double> singular = doubles_of(at::linalg_eigvalsh(root.mm(b.t().mm(b)).mm(root)));
  for (double& value : singular) value = std::sqrt(std::max(0.0, value)) * std::abs(lora.scaling);
  return singular;
}

double frobenius(const at::Tensor& matrix) {
  return std::sqrt(matrix.to(at::kCPU, at::kDouble).square().sum().item<double>());
}

}  // namespace

LoraSpectrum lora_spectrum(const LoraWeights& lora) {
  const std::vector<double> singular = singular_values(lora);
  LoraSpectrum spectrum;
  double total = 0, squares = 0, entropy = 0;
  for (const double value : singular) {
    total += value;
    squares += value * value;
    spectrum.largest = std::max(spectrum.largest, value);
  }
  spectrum.norm = std::sqrt(squares);
  if (total == 0) return spectrum;
  for (const double value : singular) {
    const double share = value / total;
    if (share > 0) entropy -= share * std::log(share);
  }
  spectrum.effective_rank = std::exp(entropy);
  return spectrum;
}

std::vector<int64_t> adapted_layers(const Adapter& adapter) {
  std::set<int64_t> layers;
  for (int64_t module = 0; module < std::ssize(adapter.modules()); ++module) {
    const bool changed = adapter.lora(module) != nullptr ||
                         adapter.weight_copy(module) != nullptr ||
                         adapter.bias_copy(module) != nullptr;
    const int64_t layer = adapter.modules()[static_cast<size_t>(module)].layer;
    if (changed && layer >= 0) layers.insert(layer);
  }
  return {layers.begin(), layers.end()};
}

std::vector<WeightDrift> weight_drift(const Decoder& decoder, const Adapter& adapter) {
  const at::NoGradGuard no_grad;
  std::vector<WeightDrift> found;
  for (int64_t module = 0; module < std::ssize(adapter.modules()); ++module) {
    const LoraWeights* lora = adapter.lora(module);
    const at::Tensor* copy = adapter.weight_copy(module);
    if (lora == nullptr && copy == nullptr) continue;
    const ModuleInfo& info = adapter.modules()[static_cast<size_t>(module)];
    if (module >= std::ssize(decoder.modules())) continue;  // a head of the adapter's own
    WeightDrift& drift = found.emplace_back();
    drift.module = info.path;
    drift.layer = info.layer;
    const at::Tensor base = decoder.base_value(module, /*bias=*/false);
    drift.base = frobenius(base);
    if (lora != nullptr) {
      const LoraSpectrum spectrum = lora_spectrum(*lora);
      drift.rank = lora->a.size(0);
      drift.delta = spectrum.norm;
      drift.largest = spectrum.largest;
      drift.effective_rank = spectrum.effective_rank;
    } else {
      drift.delta = frobenius(copy->to(at::kCPU, at::kDouble).sub(base.to(at::kCPU, at::kDouble)));
    }
  }
  return found;
}

Adapter without_layer(const Decoder& decoder, const Adapter& adapter, int64_t layer) {
  const at::NoGradGuard no_grad;
  Adapter without = adapter.clone();
  for (int64_t module = 0; module < std::ssize(without.modules()); ++module) {
    if (without.modules()[static_cast<size_t>(module)].layer != layer) continue;
    if (const LoraWeights* lora = without.lora(module)) {
      at::Tensor b = lora->b;  // the clone's own
      b.zero_();
    }
    for (const bool bias : {false, true}) {
      const at::Tensor* copy = bias ? without.bias_copy(module) : without.weight_copy(module);
      if (copy == nullptr) continue;
      at::Tensor values = *copy;
      values.copy_(decoder.base_value(module, bias));
    }
  }
  return without;
}

}  // namespace leash

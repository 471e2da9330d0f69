#include "models/vocabulary/vocabulary_chunks.h"

#include <algorithm>

#include "models/lora/lora.h"

namespace leash {

int64_t chunk_rows(const LinearGroup& head) {
  return std::clamp<int64_t>((int64_t{8} << 20) / head.weight->out_features(), 16, 1024);
}

AdapterRows slice_rows(const AdapterRows& adapters, int64_t begin, int64_t count) {
  AdapterRows result;
  int64_t row = 0;
  for (const AdapterRows::Range& range : adapters.ranges) {
    const int64_t end = range.num_rows < 0 ? begin + count : row + range.num_rows;
    const int64_t first = std::max(row, begin);
    const int64_t last = std::min(end, begin + count);
    if (last > first) {
      if (result.ranges.empty() && first > begin) result.ranges.push_back({nullptr, first - begin});
      result.ranges.push_back({range.adapter, last - first});
    }
    row = end;
  }
  return result;
}

at::Tensor wide_logits(const at::Tensor& hidden, const VocabularyHead& head,
                       const AdapterRows& adapters) {
  const at::Tensor logits = adapted_linear(hidden, head, adapters);
  at::Tensor wide = logits.scalar_type() == at::kDouble ? logits : logits.to(at::kFloat);
  if (head.softcap == 0.0) return head.scale == 1.0 ? wide : wide.mul(head.scale);
  return wide.mul(head.scale / head.softcap).tanh().mul(head.softcap);
}

bool use_kernel(const at::Tensor& logits) {
  return logits.scalar_type() == at::kFloat && logits.is_cpu();
}

torch::autograd::variable_list trained_by_head(const LinearGroup& head,
                                               const AdapterRows& adapters) {
  torch::autograd::variable_list trained;
  const auto push = [&trained](const at::Tensor& tensor) {
    if (tensor.requires_grad()) trained.push_back(tensor);  // a frozen copy came with the file
  };
  for (const AdapterRows::Range& range : adapters.ranges) {
    if (range.adapter == nullptr) continue;
    const int64_t module = head.parts[0].module;
    if (const LoraWeights* lora = range.adapter->lora(module)) {
      push(lora->a);
      push(lora->b);
    }
    if (const at::Tensor* weight = range.adapter->weight_copy(module)) push(*weight);
    if (const at::Tensor* bias = range.adapter->bias_copy(module)) push(*bias);
  }
  return trained;
}

}  // namespace leash

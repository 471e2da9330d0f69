#include "models/vocabulary/vocabulary_chunks.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>

#include "models/kernels/kernels.h"
#include "models/kernels/node.h"
#include "models/lora/lora.h"

namespace leash {
namespace {

// LibTorch's tanh rounds by a number's place in the batch. The gradient may overwrite the result
// (see wide_logits), so it is computed from the input.
at::Tensor capped_by_rows(const at::Tensor& logits, double scale, double cap) {
  const at::Tensor input = logits.detach().contiguous();
  const at::Tensor y = at::empty_like(input);
  const int64_t vocabulary = input.size(1);
  at::parallel_for(0, input.size(0), /*grain_size=*/1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      kernels::soft_cap(input.const_data_ptr<float>() + row * vocabulary,
                        y.mutable_data_ptr<float>() + row * vocabulary, vocabulary,
                        static_cast<float>(scale), static_cast<float>(cap));
    }
  });
  if (!differentiable({logits})) return y;
  return with_backward(y, {logits}, "SoftCapBackward", [input, scale, cap](const at::Tensor& dy) {
    const at::Tensor t = input.mul(scale / cap).tanh_();
    return torch::autograd::variable_list{dy.mul(t.square_().neg_().add_(1).mul_(scale))};
  });
}

}  // namespace

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
  if (use_kernel(wide)) return capped_by_rows(wide, head.scale, head.softcap);
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

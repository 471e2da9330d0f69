#include "rollout/experience.h"

#include <ATen/ops/zeros.h>

#include <algorithm>

namespace leash {

at::Tensor pad_rows(const std::vector<std::vector<double>>& rows) {
  size_t longest = 0;
  for (const auto& row : rows) longest = std::max(longest, row.size());
  at::Tensor padded =
      at::zeros({static_cast<int64_t>(rows.size()), static_cast<int64_t>(longest)}, at::kFloat);
  float* out = padded.mutable_data_ptr<float>();
  for (size_t i = 0; i < rows.size(); ++i) {
    std::ranges::transform(rows[i], out + i * longest,
                           [](double value) { return static_cast<float>(value); });
  }
  return padded;
}

at::Tensor row_mask(const std::vector<int64_t>& lengths) {
  const int64_t longest = lengths.empty() ? 0 : *std::ranges::max_element(lengths);
  at::Tensor mask = at::zeros({static_cast<int64_t>(lengths.size()), longest}, at::kBool);
  bool* out = mask.mutable_data_ptr<bool>();
  for (size_t i = 0; i < lengths.size(); ++i) std::fill_n(out + i * longest, lengths[i], true);
  return mask;
}

}  // namespace leash

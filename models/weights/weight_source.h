// A weight that never changes, as something to multiply with: the one seam behind which it may be
// plain, packed, quantised or sharded. Nobody else sees the numbers.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace leash {

class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual int64_t in_features() const = 0;
  virtual int64_t out_features() const = 0;
  // x Wᵀ without autograd. [rows, in] -> [rows, out]
  virtual at::Tensor multiply(const at::Tensor& x) const = 0;
  // dy W, the gradient with respect to x. [rows, out] -> [rows, in]
  virtual at::Tensor multiply_transposed(const at::Tensor& dy) const = 0;
  // The weight itself [out, in]: for embedding look-ups, export and tests. May be expensive.
  virtual at::Tensor dense() const = 0;
  // Some rows of the weight, an embedding look-up: ids int64 [n] -> [n, in]. Unless overridden it
  // goes through dense().
  virtual at::Tensor rows(const at::Tensor& ids) const;
  // Memory that the weight takes. Unless overridden, that of dense().
  virtual int64_t bytes() const;
};

// A weight that is kept as it is, [out, in].
std::shared_ptr<const WeightSource> dense_weight(at::Tensor weight);

}  // namespace leash

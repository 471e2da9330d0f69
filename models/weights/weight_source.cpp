#include "models/weights/weight_source.h"

#include <ATen/ops/embedding.h>

#include <utility>

#include "models/kernels/matrix_product.h"

namespace leash {
namespace {

class DenseWeight final : public WeightSource {
 public:
  explicit DenseWeight(at::Tensor weight) : weight_(std::move(weight)) {}
  int64_t in_features() const override { return weight_.size(1); }
  int64_t out_features() const override { return weight_.size(0); }
  at::Tensor multiply(const at::Tensor& x) const override { return linear_product(x, weight_); }
  at::Tensor multiply_transposed(const at::Tensor& dy) const override {
    return matrix_product(dy, weight_);
  }
  at::Tensor dense() const override { return weight_; }

 private:
  at::Tensor weight_;  // [out, in]
};

}  // namespace

at::Tensor WeightSource::rows(const at::Tensor& ids) const { return at::embedding(dense(), ids); }
int64_t WeightSource::bytes() const { return static_cast<int64_t>(dense().nbytes()); }

std::shared_ptr<const WeightSource> dense_weight(at::Tensor weight) {
  return std::make_shared<DenseWeight>(std::move(weight));
}

}  // namespace leash

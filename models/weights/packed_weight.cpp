#include "models/weights/packed_weight.h"

#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <utility>

#include "models/kernels/matrix_product.h"
#include "models/kernels/packed_product.h"

namespace leash {
namespace {

class PackedWeight final : public WeightSource {
 public:
  explicit PackedWeight(PackedMatrix matrix) : matrix_(std::move(matrix)) {}
  int64_t in_features() const override { return matrix_.in_features(); }
  int64_t out_features() const override { return matrix_.out_features(); }
  at::Tensor multiply(const at::Tensor& x) const override {
    return matrix_.multiply(x).to(x.scalar_type());
  }
  at::Tensor multiply_transposed(const at::Tensor& dy) const override {
    return matrix_.multiply_transposed(dy).to(dy.scalar_type());
  }
  at::Tensor dense() const override { return matrix_.dense(); }
  at::Tensor rows(const at::Tensor& ids) const override { return matrix_.rows(ids); }
  // But for what fills up the last panel of a matrix that is no multiple of 16 high.
  int64_t bytes() const override {
    return out_features() * in_features() * matrix_.panels().element_size();
  }
  const at::Tensor& panels() const { return matrix_.panels(); }

 private:
  PackedMatrix matrix_;
};

// bf16 where no instruction multiplies it: a few rows at a time in fp32.
class RoundedWeight final : public WeightSource {
 public:
  explicit RoundedWeight(at::Tensor weight) : weight_(std::move(weight)) {}
  int64_t in_features() const override { return weight_.size(1); }
  int64_t out_features() const override { return weight_.size(0); }
  at::Tensor multiply(const at::Tensor& x) const override {
    const at::Tensor input = rounded(x);
    const at::Tensor y = at::empty({x.size(0), out_features()}, input.options());
    in_parts([&](int64_t row, const at::Tensor& part) {
      matrix_product_into(y.narrow(1, row, part.size(0)), input, part.t(), /*add=*/false);
    });
    return y.to(x.scalar_type());
  }
  at::Tensor multiply_transposed(const at::Tensor& dy) const override {
    const at::Tensor gradient = rounded(dy);
    const at::Tensor dx = at::empty({dy.size(0), in_features()}, gradient.options());
    in_parts([&](int64_t row, const at::Tensor& part) {
      matrix_product_into(dx, gradient.narrow(1, row, part.size(0)), part, /*add=*/row > 0);
    });
    return dx.to(dy.scalar_type());
  }
  at::Tensor dense() const override { return weight_; }
  at::Tensor rows(const at::Tensor& ids) const override {
    return at::embedding(weight_, ids).to(at::kFloat);
  }

 private:
  static constexpr int64_t kPartNumbers = 1 << 19;  // in fp32: 2 MB

  static at::Tensor rounded(const at::Tensor& x) { return x.to(at::kBFloat16).to(at::kFloat); }
  // Calls use(first row, part [rows, in] in fp32) for all of the weight in order.
  template <class Use>
  void in_parts(const Use& use) const {
    const int64_t step = std::max<int64_t>(kPartNumbers / in_features(), 1);
    for (int64_t row = 0; row < out_features(); row += step) {
      const int64_t count = std::min(step, out_features() - row);
      use(row, weight_.narrow(0, row, count).to(at::kFloat));
    }
  }

  at::Tensor weight_;  // [out, in]
};

}  // namespace

std::shared_ptr<const WeightSource> packed_weight(const at::Tensor& weight) {
  if (!PackedMatrix::fits(weight.scalar_type(), weight.device())) return unpacked_weight(weight);
  return std::make_shared<PackedWeight>(PackedMatrix(weight));
}

std::shared_ptr<const WeightSource> packed_weight(at::Tensor panels, int64_t out_features,
                                                  int64_t in_features) {
  return std::make_shared<PackedWeight>(PackedMatrix(std::move(panels), out_features, in_features));
}

std::shared_ptr<const WeightSource> unpacked_weight(const at::Tensor& weight) {
  if (weight.scalar_type() != at::kBFloat16 || !weight.is_cpu()) return dense_weight(weight);
  return std::make_shared<RoundedWeight>(weight);
}

at::Tensor packed_panels(const WeightSource& weight) {
  const auto* packed = dynamic_cast<const PackedWeight*>(&weight);
  return packed == nullptr ? at::Tensor() : packed->panels();
}

}  // namespace leash

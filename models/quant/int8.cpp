#include "models/quant/int8.h"

#include <ATen/ops/abs.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/full.h>
#include <ATen/ops/where.h>

#include <cmath>
#include <utility>

#include "models/kernels/target_clones.h"

namespace leash {
namespace {

LEASH_CLONES void decode_row(const int8_t* codes, float scale, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(codes[i]) * scale;
}

class Int8Rows final : public PackedRows {
 public:
  explicit Int8Rows(Int8Matrix matrix) : matrix_(std::move(matrix)) {}
  int64_t num_rows() const override { return matrix_.codes.size(0); }
  int64_t num_columns() const override { return matrix_.codes.size(1); }
  int64_t bytes() const override {
    return static_cast<int64_t>(matrix_.codes.nbytes() + matrix_.stats.nbytes());
  }
  void decode(int64_t row, int64_t count, float* out) const override {
    const int64_t n = num_columns();
    const int8_t* codes = matrix_.codes.const_data_ptr<int8_t>();
    const float* stats = matrix_.stats.const_data_ptr<float>();
    for (int64_t i = 0; i < count; ++i) {
      decode_row(codes + (row + i) * n, stats[row + i] / 127.0f, n, out + i * n);
    }
  }

  at::Device device() const override { return matrix_.codes.device(); }
  std::shared_ptr<const PackedRows> to(at::Device device) const override {
    return std::make_shared<Int8Rows>(
        Int8Matrix{.codes = matrix_.codes.to(device), .stats = matrix_.stats.to(device)});
  }
  void decode_into(int64_t row, int64_t count, const at::Tensor& out) const override {
    if (matrix_.codes.is_cpu()) return decode(row, count, out.mutable_data_ptr<float>());
    // A tensor as divisor: GPUs multiply by the reciprocal of a number.
    const at::Tensor scales =
        matrix_.stats.narrow(0, row, count).div(at::full({1}, 127.0, matrix_.stats.options()));
    out.copy_(matrix_.codes.narrow(0, row, count).to(at::kFloat).mul(scales.unsqueeze(1)));
  }

 private:
  Int8Matrix matrix_;
};

}  // namespace

Int8Matrix quantize_int8(const at::Tensor& weight) {
  TORCH_CHECK(weight.dim() == 2 && weight.size(1) > 0, "quantize_int8: a matrix is needed");
  const at::Tensor values = weight.to(at::kFloat);
  const at::Tensor stats = values.abs().amax(1);
  TORCH_CHECK(stats.isfinite().all().item<bool>(), "quantize_int8: a weight is not finite");
  const at::Tensor factors = at::where(stats.gt(0), stats.reciprocal().mul(127.0f), stats);
  return {.codes = values.mul(factors.unsqueeze(1)).round_().to(at::kChar).contiguous(),
          .stats = stats.contiguous()};
}

std::shared_ptr<const PackedRows> int8_rows(Int8Matrix matrix) {
  return std::make_shared<Int8Rows>(std::move(matrix));
}

}  // namespace leash

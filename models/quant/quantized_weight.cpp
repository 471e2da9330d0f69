#include "models/quant/quantized_weight.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <utility>

#include "models/kernels/matrix_product.h"
#include "models/kernels/small_product.h"
#include "models/quant/row_products.h"

namespace leash {
namespace {

constexpr int64_t kFewRows = 32;  // up to here decoded rows are used while in the nearest caches
constexpr int64_t kTileValues = 1 << 19;  // of a dense tile: 2 MB
// The same on a device: 128 MB, so that few weights need more than one (sums over tiles round).
constexpr int64_t kDeviceTileValues = 1 << 25;
constexpr int64_t kValuesPerTask = 1 << 14;  // that a thread is worth being woken for

class QuantizedWeight final : public WeightSource {
 public:
  explicit QuantizedWeight(std::vector<std::shared_ptr<const PackedRows>> parts)
      : parts_(std::move(parts)) {
    TORCH_CHECK(!parts_.empty(), "quantized_weight: no parts");
    for (const auto& part : parts_) {
      TORCH_CHECK(part->num_columns() == in_features(), "quantized_weight: parts of ",
                  in_features(), " and ", part->num_columns(), " columns");
      TORCH_CHECK(part->device() == device(), "quantized_weight: parts on ", device(), " and ",
                  part->device());
      out_features_ += part->num_rows();
    }
  }

  int64_t in_features() const override { return parts_.front()->num_columns(); }
  int64_t out_features() const override { return out_features_; }
  int64_t bytes() const override {
    int64_t sum = 0;
    for (const auto& part : parts_) sum += part->bytes();
    return sum;
  }

  at::Tensor multiply(const at::Tensor& x) const override {
    const at::Tensor input = activations(x, in_features());
    at::Tensor y = at::empty({x.size(0), out_features_}, input.options());
    if (x.size(0) <= few_rows() && input.scalar_type() == at::kFloat && device().is_cpu()) {
      multiply_few(input, y);
    } else {
      for_each_tile(input.scalar_type(), [&](int64_t row, const at::Tensor& tile) {
        matrix_product_into(y.narrow(1, row, tile.size(0)), input, tile.t(), /*add=*/false);
      });
    }
    return y.to(x.scalar_type());
  }

  at::Tensor multiply_transposed(const at::Tensor& dy) const override {
    const at::Tensor gradient = activations(dy, out_features_);
    at::Tensor dx = at::empty({dy.size(0), in_features()}, gradient.options());
    for_each_tile(gradient.scalar_type(), [&](int64_t row, const at::Tensor& tile) {
      matrix_product_into(dx, gradient.narrow(1, row, tile.size(0)), tile, /*add=*/row > 0);
    });
    return dx.to(dy.scalar_type());
  }

  at::Tensor dense() const override {
    at::Tensor weight = at::empty({out_features_, in_features()}, values());
    decode(0, out_features_, weight);
    return weight;
  }

  at::Tensor rows(const at::Tensor& ids) const override {
    TORCH_CHECK(ids.dim() == 1 && ids.scalar_type() == at::kLong, "rows: ids are int64 [n]");
    if (!device().is_cpu()) {
      return parts_.size() == 1 ? parts_[0]->decode_rows(ids) : dense().index_select(0, ids);
    }
    const at::Tensor wanted = ids.contiguous();
    const int64_t* rows = wanted.const_data_ptr<int64_t>();
    at::Tensor result = at::empty({ids.size(0), in_features()}, at::kFloat);
    float* out = result.mutable_data_ptr<float>();
    for (int64_t i = 0; i < ids.size(0); ++i) {
      TORCH_CHECK_INDEX(rows[i] >= 0 && rows[i] < out_features_, "rows: ", rows[i],
                        " is not among ", out_features_);
    }
    at::parallel_for(0, ids.size(0), grain(), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) decode_some(rows[i], 1, out + i * in_features());
    });
    return result;
  }

 private:
  static int64_t few_rows() { return has_small_product() ? kSmallProductRows : kFewRows; }
  at::Device device() const { return parts_.front()->device(); }
  at::TensorOptions values() const { return at::TensorOptions(at::kFloat).device(device()); }
  int64_t grain() const { return std::max<int64_t>(kValuesPerTask / in_features(), 1); }

  static at::Tensor activations(const at::Tensor& x, int64_t features) {
    TORCH_CHECK(x.dim() == 2 && x.size(1) == features, "quantised product: the input is [rows, ",
                features, "]");
    if (!x.is_cpu()) return x.contiguous();
    return x.to(x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat).contiguous();
  }

  // Rows [row, row + count) of all parts, on the calling thread.
  void decode_some(int64_t row, int64_t count, float* out) const {
    for (const auto& part : parts_) {
      const int64_t here = std::min(count, part->num_rows() - row);
      if (here > 0) {
        part->decode(row, here, out);
        out += here * in_features();
        count -= here;
        row = 0;
      } else {
        row -= part->num_rows();
      }
      if (count == 0) return;
    }
  }

  // Rows [row, row + count) of all parts into `weight` [count, in], where the weight is.
  void decode(int64_t row, int64_t count, const at::Tensor& weight) const {
    RECORD_USER_SCOPE("leash::decode_blocks");
    if (!device().is_cpu()) return decode_on_device(row, count, weight);
    float* const out = weight.mutable_data_ptr<float>();
    at::parallel_for(0, count, grain(), [&](int64_t begin, int64_t end) {
      decode_some(row + begin, end - begin, out + begin * in_features());
    });
  }

  void decode_on_device(int64_t row, int64_t count, const at::Tensor& out) const {
    int64_t first = 0, done = 0;  // of the part; rows of `out`
    for (const auto& part : parts_) {
      const int64_t begin = std::max(row, first);
      const int64_t end = std::min(row + count, first + part->num_rows());
      if (begin < end) {
        part->decode_into(begin - first, end - begin, out.narrow(0, done, end - begin));
        done += end - begin;
      }
      first += part->num_rows();
    }
  }

  // Calls use(first row, tile [rows, in]) for all of the weight in order. The scratch is the
  // call's.
  template <class Use>
  void for_each_tile(at::ScalarType dtype, const Use& use) const {
    const int64_t tile = device().is_cpu() ? kTileValues : kDeviceTileValues;
    const int64_t step =
        std::clamp<int64_t>(tile / in_features(), 1, std::max<int64_t>(out_features_, 1));
    const at::Tensor scratch = at::empty({step, in_features()}, values());
    for (int64_t row = 0; row < out_features_; row += step) {
      const int64_t count = std::min(step, out_features_ - row);
      const at::Tensor rows = scratch.narrow(0, 0, count);
      decode(row, count, rows);
      use(row, rows.to(dtype));
    }
  }

  // Decoding shapes: each thread decodes a few weight rows and uses them before the next.
  void multiply_few(const at::Tensor& x, const at::Tensor& y) const {
    const int64_t together = has_small_product() ? 32 : 4;  // in the second cache, or the first
    const int64_t n = in_features();
    const float* px = x.const_data_ptr<float>();
    float* py = y.mutable_data_ptr<float>();
    RECORD_USER_SCOPE("leash::quantized_product");
    at::parallel_for(0, out_features_, grain(), [&](int64_t begin, int64_t end) {
      std::vector<float> scratch(static_cast<size_t>(together * n));
      for (int64_t row = begin; row < end; row += together) {
        const int64_t count = std::min(together, end - row);
        decode_some(row, count, scratch.data());
        if (has_small_product()) {
          small_product_here(px, x.size(0), scratch.data(), count, n, py + row, out_features_);
        } else {
          row_products(px, x.size(0), scratch.data(), count, n, py + row, out_features_);
        }
      }
    });
  }

  std::vector<std::shared_ptr<const PackedRows>> parts_;
  int64_t out_features_ = 0;
};

}  // namespace

std::shared_ptr<const WeightSource> quantized_weight(
    std::vector<std::shared_ptr<const PackedRows>> parts) {
  return std::make_shared<QuantizedWeight>(std::move(parts));
}

}  // namespace leash

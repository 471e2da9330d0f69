#include "models/quant/fast_weight.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <utility>

namespace leash {
namespace {

constexpr int64_t kTiledValuesPerTask = 1 << 16;  // that a thread is worth being woken for

class FastWeight final : public WeightSource {
 public:
  explicit FastWeight(std::vector<ByteTiles> parts) : parts_(std::move(parts)) {
    TORCH_CHECK(!parts_.empty(), "fast_weight: no parts");
    for (const ByteTiles& part : parts_) {
      TORCH_CHECK(part.columns == in_features(), "fast_weight: parts of ", in_features(), " and ",
                  part.columns, " columns");
      out_features_ += part.rows;
      groups_ += part.groups();
    }
  }

  int64_t in_features() const override { return parts_.front().columns; }
  int64_t out_features() const override { return out_features_; }
  int64_t bytes() const override {
    int64_t sum = 0;
    for (const ByteTiles& part : parts_) sum += static_cast<int64_t>(part.bytes.nbytes());
    return sum;
  }

  at::Tensor multiply(const at::Tensor& x) const override {
    RECORD_USER_SCOPE("leash::byte_product");
    const ByteInput input = byte_input(x.to(at::kFloat).contiguous());
    at::Tensor y = at::empty({x.size(0), out_features_}, x.options().dtype(at::kFloat));
    float* const out = y.mutable_data_ptr<float>();
    const int64_t grain = std::max<int64_t>(kTiledValuesPerTask / (kTileRows * in_features()), 1);
    at::parallel_for(0, groups_, grain, [&](int64_t begin, int64_t end) {
      int64_t group = 0, column = 0;  // where a part begins
      for (const ByteTiles& part : parts_) {
        const int64_t first = std::max(begin - group, int64_t{0});
        const int64_t last = std::min(end - group, part.groups());
        if (first < last) {
          byte_product(input, part, first, last, out + column + first * kTileRows, out_features_);
        }
        group += part.groups();
        column += part.rows;
      }
    });
    return y.to(x.scalar_type());
  }

  at::Tensor multiply_transposed(const at::Tensor& /*dy*/) const override {
    TORCH_CHECK(false, "weights for --fast have no gradients");
  }

  at::Tensor dense() const override {
    at::Tensor weight = at::empty({out_features_, in_features()}, at::kFloat);
    float* const out = weight.mutable_data_ptr<float>();
    at::parallel_for(0, out_features_, 16, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) decode(row, out + row * in_features());
    });
    return weight;
  }

  at::Tensor rows(const at::Tensor& ids) const override {
    TORCH_CHECK(ids.dim() == 1 && ids.scalar_type() == at::kLong, "rows: ids are int64 [n]");
    const at::Tensor wanted = ids.contiguous();
    const auto* rows = wanted.const_data_ptr<int64_t>();
    at::Tensor result = at::empty({ids.size(0), in_features()}, at::kFloat);
    float* const out = result.mutable_data_ptr<float>();
    for (int64_t i = 0; i < ids.size(0); ++i) {
      TORCH_CHECK_INDEX(rows[i] >= 0 && rows[i] < out_features_, "rows: ", rows[i],
                        " is not among ", out_features_);
      decode(rows[i], out + i * in_features());
    }
    return result;
  }

 private:
  void decode(int64_t row, float* out) const {
    for (const ByteTiles& part : parts_) {
      if (row < part.rows) return decode_row(part, row, out);
      row -= part.rows;
    }
  }

  std::vector<ByteTiles> parts_;
  int64_t out_features_ = 0;
  int64_t groups_ = 0;
};

}  // namespace

std::shared_ptr<const WeightSource> fast_weight(std::vector<ByteTiles> parts) {
  return std::make_shared<FastWeight>(std::move(parts));
}

}  // namespace leash

#include "models/quant/quantized_weight.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/record_function.h>
#include <c10/util/BFloat16.h>

#include <algorithm>
#include <utility>

#include "models/kernels/matrix_product.h"
#include "models/kernels/packed_product.h"
#include "models/quant/row_products.h"

namespace leash {
namespace {

constexpr int64_t kFewRows = 32;  // without our products: decoded rows stay in the nearest caches
constexpr int64_t kTogether = panels::kGroup * panels::kOutputs;  // rows that meet a tile
constexpr int64_t kTileValues = 1 << 19;                          // of a dense tile: 2 MB
// The same on a device: 128 MB, so that few weights need more than one (sums over tiles round).
constexpr int64_t kDeviceTileValues = 1 << 25;
constexpr int64_t kValuesPerTask = 1 << 14;  // that a thread is worth being woken for

class QuantizedWeight final : public WeightSource {
 public:
  QuantizedWeight(std::vector<std::shared_ptr<const PackedRows>> parts, at::ScalarType dtype)
      : parts_(std::move(parts)), narrow_(dtype == at::kBFloat16) {
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
    if (packs(input)) {
      multiply_panels(input, y);
    } else if (x.size(0) <= kFewRows && input.scalar_type() == at::kFloat && device().is_cpu()) {
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
    if (packs(gradient)) {
      for_each_packed_tile([&](int64_t row, const PackedMatrix& tile) {
        tile.multiply_transposed_into(dx, gradient.narrow(1, row, tile.out_features()),
                                      /*add=*/row > 0);
      });
    } else {
      for_each_tile(gradient.scalar_type(), [&](int64_t row, const at::Tensor& tile) {
        matrix_product_into(dx, gradient.narrow(1, row, tile.size(0)), tile, /*add=*/row > 0);
      });
    }
    return dx.to(dy.scalar_type());
  }

  at::Tensor dense() const override {
    at::Tensor weight = at::empty({out_features_, in_features()}, values());
    if (!device().is_cpu()) {
      decode_on_device(0, out_features_, weight);
      return weight;
    }
    float* const out = weight.mutable_data_ptr<float>();
    at::parallel_for(0, out_features_, grain(), [&](int64_t begin, int64_t end) {
      decode_some(begin, end - begin, out + begin * in_features());
    });
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
  at::Device device() const { return parts_.front()->device(); }
  at::TensorOptions values() const { return at::TensorOptions(at::kFloat).device(device()); }
  int64_t grain() const { return std::max<int64_t>(kValuesPerTask / in_features(), 1); }

  // Rounded in fp32 where bf16 is not multiplied as such.
  bool rounds() const { return narrow_ && kind() == panels::Kind::single; }
  panels::Kind kind() const {
    const bool pairs = narrow_ && panels::has(panels::Kind::pairs);
    return pairs ? panels::Kind::pairs : panels::Kind::single;
  }
  bool packs(const at::Tensor& x) const {
    return x.scalar_type() == at::kFloat && x.is_cpu() && panels::has(kind());
  }

  at::Tensor activations(const at::Tensor& x, int64_t features) const {
    TORCH_CHECK(x.dim() == 2 && x.size(1) == features, "quantised product: the input is [rows, ",
                features, "]");
    if (!x.is_cpu()) return x.contiguous();
    const auto type = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor rows = rounds() && type == at::kFloat ? x.to(at::kBFloat16) : x;
    return rows.to(type).contiguous();
  }

  // Rows [row, row + count) of all parts as the products read them, on the calling thread.
  void decode_rounded(int64_t row, int64_t count, float* out) const {
    decode_some(row, count, out);
    if (!rounds()) return;
    for (int64_t i = 0; i < count * in_features(); ++i)
      out[i] = static_cast<float>(c10::BFloat16(out[i]));
  }

  // The same numbers as they are kept.
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
      decode_rounded(row + begin, end - begin, out + begin * in_features());
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

  int64_t words() const { return panels::words_of(kind(), in_features()); }

  // A thread's memory for panels that are made and used at once.
  struct Scratch {
    std::vector<float> rows;      // kOutputs of the weight
    std::vector<uint16_t> pairs;  // the same in bf16
  };

  // Rows [row, row + count) of the weight, at most kOutputs, as a panel.
  void decode_panel(int64_t row, int64_t count, Scratch& scratch, uint32_t* panel) const {
    const int64_t n = in_features();
    scratch.rows.resize(static_cast<size_t>(panels::kOutputs * n));
    decode_rounded(row, count, scratch.rows.data());
    const void* numbers = scratch.rows.data();
    if (kind() == panels::Kind::pairs) {
      scratch.pairs.resize(static_cast<size_t>(panels::kOutputs * 2 * words()));
      for (int64_t r = 0; r < count; ++r)
        panels::round_row(scratch.rows.data() + r * n, n, scratch.pairs.data() + r * 2 * words());
      numbers = scratch.pairs.data();
    }
    panels::pack_panel(static_cast<const uint32_t*>(numbers), words(), count, words(), panel);
  }

  // Each thread decodes what a tile takes and uses it, for all rows of x, before it goes on.
  void multiply_panels(const at::Tensor& x, const at::Tensor& y) const {
    RECORD_USER_SCOPE("leash::quantized_product");
    const ProductRows rows(x, kind());
    float* const py = y.mutable_data_ptr<float>();
    const int64_t groups = (out_features_ + kTogether - 1) / kTogether;
    const int64_t panel = panels::kOutputs * words();
    at::parallel_for(0, groups, 1, [&](int64_t begin, int64_t end) {
      Scratch scratch;
      std::vector<uint32_t> packed(static_cast<size_t>(panels::kGroup * panel));
      for (int64_t row = begin * kTogether; row < std::min(end * kTogether, out_features_);
           row += kTogether) {
        const int64_t columns = std::min(kTogether, out_features_ - row);
        for (int64_t at = 0; at < columns; at += panels::kOutputs) {
          decode_panel(row + at, std::min(panels::kOutputs, columns - at), scratch,
                       packed.data() + at / panels::kOutputs * panel);
        }
        panels::multiply({.kind = kind(),
                          .left = rows.words,
                          .panels = packed.data(),
                          .left_stride = rows.stride,
                          .panel_stride = panel,
                          .rows = x.size(0),
                          .words = words(),
                          .columns = columns,
                          .out = py + row,
                          .out_stride = out_features_});
      }
    });
  }

  // Calls use(first row, rows of the weight) for all of the weight in order.
  template <class Use>
  void for_each_packed_tile(const Use& use) const {
    const int64_t panel = panels::kOutputs * words();
    const int64_t step =
        std::max(kTileValues / in_features() / panels::kTurned, int64_t{1}) * panels::kTurned;
    const auto type = kind() == panels::Kind::pairs ? at::kBFloat16 : at::kFloat;
    for (int64_t row = 0; row < out_features_; row += step) {
      const int64_t count = std::min(step, out_features_ - row);
      const at::Tensor tile = at::empty({PackedMatrix::numbers(type, count, in_features())}, type);
      auto* const to = static_cast<uint32_t*>(tile.mutable_data_ptr());
      at::parallel_for(0, panels::panels_of(count), 1, [&](int64_t begin, int64_t end) {
        Scratch scratch;
        for (int64_t at = begin; at < end; ++at) {
          const int64_t first = at * panels::kOutputs;
          decode_panel(row + first, std::min(panels::kOutputs, count - first), scratch,
                       to + at * panel);
        }
      });
      use(row, PackedMatrix(tile, count, in_features()));
    }
  }

  // Without our products: each thread decodes a few weight rows and uses them before the next.
  void multiply_few(const at::Tensor& x, const at::Tensor& y) const {
    constexpr int64_t kAtOnce = 4;  // in the first cache
    const int64_t n = in_features();
    const float* px = x.const_data_ptr<float>();
    float* py = y.mutable_data_ptr<float>();
    RECORD_USER_SCOPE("leash::quantized_product");
    at::parallel_for(0, out_features_, grain(), [&](int64_t begin, int64_t end) {
      std::vector<float> scratch(static_cast<size_t>(kAtOnce * n));
      for (int64_t row = begin; row < end; row += kAtOnce) {
        const int64_t count = std::min(kAtOnce, end - row);
        decode_rounded(row, count, scratch.data());
        row_products(px, x.size(0), scratch.data(), count, n, py + row, out_features_);
      }
    });
  }

  std::vector<std::shared_ptr<const PackedRows>> parts_;
  bool narrow_;  // products in bf16
  int64_t out_features_ = 0;
};

}  // namespace

std::shared_ptr<const WeightSource> quantized_weight(
    std::vector<std::shared_ptr<const PackedRows>> parts, at::ScalarType dtype) {
  return std::make_shared<QuantizedWeight>(std::move(parts), dtype);
}

}  // namespace leash

#include "models/kernels/packed_product.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

namespace leash {
namespace {

using panels::Kind;
using panels::kOutputs;
using panels::panels_of;
using panels::words_of;

constexpr int64_t kTurnedColumns = 3 * panels::kTurned;  // of dx, whose panels are made at a time
constexpr int64_t kTurnedWords = 256;                    // of those: 98 KB
constexpr int64_t kRowsApart = 512;               // rows that one copy of turned panels serves
constexpr int64_t kWorkApart = int64_t{1} << 18;  // multiplications that are worth another thread

int64_t pieces(int64_t size, int64_t piece) { return (size + piece - 1) / piece; }

// A rectangle of the result.
struct Rectangle {
  int64_t row, rows;
  int64_t column, columns;
};

// Calls work(rectangle) for all of [rows, columns] on all threads: `step` columns at a time, and as
// many blocks of rows as are needed for every thread to have work.
template <class Work>
void in_rectangles(int64_t rows, int64_t columns, int64_t depth, int64_t step, int64_t most_rows,
                   const Work& work) {
  if (rows == 0 || columns == 0) return;
  const int64_t across = pieces(columns, step);
  int64_t down = pieces(rows, most_rows);
  while (across * down < 4 * at::get_num_threads() && rows > 64 * down) ++down;
  const int64_t block = pieces(pieces(rows, down), 8) * 8;
  down = pieces(rows, block);
  const int64_t cost = std::min(block, rows) * std::min(columns, step) * depth;
  at::parallel_for(0, across * down, pieces(kWorkApart, std::max<int64_t>(cost, 1)),
                   [&](int64_t begin, int64_t end) {
                     // A thread's pieces lie side by side, and its rows stay in the cache.
                     for (int64_t piece = begin; piece < end; ++piece) {
                       const int64_t row = piece / across * block, column = piece % across * step;
                       work(Rectangle{.row = row,
                                      .rows = std::min(block, rows - row),
                                      .column = column,
                                      .columns = std::min(step, columns - column)});
                     }
                   });
}

Kind kind_of(at::ScalarType type) {
  TORCH_CHECK(type == at::kFloat || type == at::kBFloat16, "no panels of ", type);
  return type == at::kFloat ? Kind::single : Kind::pairs;
}

const uint32_t* words_in(const at::Tensor& numbers) {
  return static_cast<const uint32_t*>(numbers.const_data_ptr());
}

}  // namespace

ProductRows::ProductRows(const at::Tensor& x, Kind kind) {
  TORCH_CHECK(x.dim() == 2 && x.is_cpu(), "a product's rows are [rows, depth] on the CPU, not ",
              x.sizes());
  const at::Tensor wide = x.scalar_type() == at::kFloat ? x : x.to(at::kFloat);
  const at::Tensor rows = wide.stride(1) == 1 ? wide : wide.contiguous();
  if (kind == Kind::single) {
    numbers = rows;
    words = words_in(rows);
    stride = rows.stride(0);
    return;
  }
  const int64_t depth = x.size(1);
  stride = words_of(kind, depth);
  numbers = at::empty({x.size(0), 2 * stride}, rows.options().dtype(at::kBFloat16));
  words = words_in(numbers);
  const auto* from = rows.const_data_ptr<float>();
  auto* to = static_cast<uint16_t*>(numbers.mutable_data_ptr());
  at::parallel_for(0, x.size(0), std::max<int64_t>(32768 / std::max<int64_t>(depth, 1), 1),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t row = begin; row < end; ++row)
                       panels::round_row(from + row * rows.stride(0), depth, to + row * 2 * stride);
                   });
}

bool PackedMatrix::fits(at::ScalarType type, at::Device device) {
  if (!device.is_cpu()) return false;
  return (type == at::kFloat && panels::has(Kind::single)) ||
         (type == at::kBFloat16 && panels::has(Kind::pairs));
}

int64_t PackedMatrix::numbers(at::ScalarType type, int64_t out_features, int64_t in_features) {
  const Kind kind = kind_of(type);
  const int64_t words = panels_of(out_features) * kOutputs * words_of(kind, in_features);
  return kind == Kind::single ? words : 2 * words;
}

PackedMatrix::PackedMatrix(const at::Tensor& weight)
    : out_(weight.size(0)),
      in_(weight.size(1)),
      panels_(at::empty({numbers(weight.scalar_type(), out_, in_)},
                        weight.options().requires_grad(false))) {
  const at::Tensor rows = weight.contiguous();
  const int64_t size = words();
  const bool odd = kind() == Kind::pairs && in_ % 2 != 0;
  const auto* from = static_cast<const char*>(rows.const_data_ptr());
  const int64_t row_bytes = in_ * rows.element_size();
  auto* to = static_cast<uint32_t*>(panels_.mutable_data_ptr());
  at::parallel_for(0, panels_of(out_), 1, [&](int64_t begin, int64_t end) {
    std::vector<uint32_t> padded(odd ? static_cast<size_t>(kOutputs * size) : 0);
    for (int64_t panel = begin; panel < end; ++panel) {
      const int64_t row = panel * kOutputs, count = std::min(kOutputs, out_ - row);
      const auto* words = reinterpret_cast<const uint32_t*>(from + row * row_bytes);
      if (odd) {
        for (int64_t r = 0; r < count; ++r) {
          std::memcpy(padded.data() + r * size, from + (row + r) * row_bytes,
                      static_cast<size_t>(row_bytes));
        }
        words = padded.data();
      }
      panels::pack_panel(words, size, count, size, to + row * size);
    }
  });
}

PackedMatrix::PackedMatrix(at::Tensor panels, int64_t out_features, int64_t in_features)
    : out_(out_features), in_(in_features), panels_(std::move(panels)) {
  TORCH_CHECK(panels_.dim() == 1 && panels_.is_contiguous() &&
                  panels_.numel() == numbers(panels_.scalar_type(), out_, in_),
              "panels of [", out_, ", ", in_, "] are not ", panels_.sizes());
}

Kind PackedMatrix::kind() const { return kind_of(type()); }
int64_t PackedMatrix::words() const { return words_of(kind(), in_); }
const uint32_t* PackedMatrix::data() const { return words_in(panels_); }

at::Tensor PackedMatrix::multiply(const at::Tensor& x) const {
  TORCH_CHECK(x.size(1) == in_, "product: ", x.sizes(), " with a weight of ", in_, " inputs");
  RECORD_USER_SCOPE("leash::packed_product");
  const ProductRows rows(x, kind());
  const at::Tensor y = at::empty({x.size(0), out_}, at::TensorOptions(at::kFloat));
  float* const out = y.mutable_data_ptr<float>();
  // Few rows have panels in the cache for all of them; many are better off with few panels.
  in_rectangles(x.size(0), out_, in_, panels::kGroup * kOutputs, x.size(0),
                [&](const Rectangle& part) {
                  panels::multiply({.kind = kind(),
                                    .left = rows.words + part.row * rows.stride,
                                    .panels = data() + part.column * words(),
                                    .left_stride = rows.stride,
                                    .panel_stride = kOutputs * words(),
                                    .rows = part.rows,
                                    .words = words(),
                                    .columns = part.columns,
                                    .out = out + part.row * out_ + part.column,
                                    .out_stride = out_});
                });
  return y;
}

at::Tensor PackedMatrix::multiply_transposed(const at::Tensor& dy) const {
  const at::Tensor dx = at::empty({dy.size(0), in_}, at::TensorOptions(at::kFloat));
  multiply_transposed_into(dx, dy, /*add=*/false);
  return dx;
}

void PackedMatrix::multiply_transposed_into(const at::Tensor& dx, const at::Tensor& dy,
                                            bool add) const {
  TORCH_CHECK(dy.size(1) == out_, "product: ", dy.sizes(), " with a weight of ", out_, " outputs");
  RECORD_USER_SCOPE("leash::packed_product_transposed");
  TORCH_CHECK(dx.is_contiguous() && dx.size(0) == dy.size(0) && dx.size(1) == in_,
              "product: a gradient of ", dx.sizes());
  const ProductRows rows(dy, kind());
  float* const out = dx.mutable_data_ptr<float>();
  const int64_t per_word = kind() == Kind::single ? 1 : 2;
  in_rectangles(dy.size(0), in_, out_, kTurnedColumns, kRowsApart, [&](const Rectangle& part) {
    alignas(64) static thread_local uint32_t turned[kTurnedColumns * kTurnedWords];
    for (int64_t at = 0; at < out_; at += kTurnedWords * per_word) {
      const int64_t depth = std::min(kTurnedWords * per_word, out_ - at);
      panels::turn_panels(kind(), data(), kOutputs * words(), words(), at, depth, part.column,
                          part.columns, turned);
      panels::multiply({.kind = kind(),
                        .left = rows.words + part.row * rows.stride + at / per_word,
                        .panels = turned,
                        .left_stride = rows.stride,
                        .panel_stride = panels::turned_stride(kind(), depth),
                        .rows = part.rows,
                        .words = words_of(kind(), depth),
                        .columns = part.columns,
                        .out = out + part.row * in_ + part.column,
                        .out_stride = in_,
                        .add = add || at > 0});
    }
  });
}

void PackedMatrix::unpack(int64_t row, uint32_t* out) const {
  const uint32_t* from = data() + row / kOutputs * kOutputs * words() + row % kOutputs;
  for (int64_t word = 0; word < words(); ++word) out[word] = from[word * kOutputs];
}

at::Tensor PackedMatrix::dense() const {
  const int64_t size = kind() == Kind::single ? words() : 2 * words();
  const at::Tensor rows = at::empty({out_, size}, panels_.options());
  auto* const to = static_cast<uint32_t*>(rows.mutable_data_ptr());
  at::parallel_for(0, out_, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) unpack(row, to + row * words());
  });
  return rows.narrow(1, 0, in_).contiguous();
}

at::Tensor PackedMatrix::rows(const at::Tensor& ids) const {
  TORCH_CHECK(ids.dim() == 1 && ids.scalar_type() == at::kLong, "rows: ids are int64 [n]");
  const at::Tensor wanted = ids.contiguous();
  const auto* rows = wanted.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < ids.size(0); ++i) {
    TORCH_CHECK_INDEX(rows[i] >= 0 && rows[i] < out_, "rows: ", rows[i], " is not among ", out_);
  }
  const int64_t size = kind() == Kind::single ? words() : 2 * words();
  const at::Tensor found = at::empty({ids.size(0), size}, panels_.options());
  auto* const to = static_cast<uint32_t*>(found.mutable_data_ptr());
  at::parallel_for(0, ids.size(0), 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) unpack(rows[i], to + i * words());
  });
  return found.narrow(1, 0, in_).to(at::kFloat).contiguous();
}

std::string own_products() {
  if (panels::has(Kind::pairs)) return "bfloat16 and float32 by AVX512-BF16";
  return panels::has(Kind::single) ? "float32 by AVX-512" : "none";
}

}  // namespace leash

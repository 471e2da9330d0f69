#include "models/quant/nf4.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "models/kernels/target_clones.h"
#include "models/quant/device_decoding.h"
#include "models/quant/nf4_values.h"

namespace leash {
namespace {

constexpr int64_t kBlocksPerTask = 512;

// Index of the nearest entry of a sorted table: how many midpoints lie below the value.
template <size_t kSize>
uint8_t nearest(const std::array<float, kSize - 1>& midpoints, float value) {
  return static_cast<uint8_t>(std::lower_bound(midpoints.begin(), midpoints.end(), value) -
                              midpoints.begin());
}

template <size_t kSize>
std::array<float, kSize - 1> midpoints_of(const std::array<float, kSize>& table) {
  std::array<float, kSize - 1> midpoints{};
  for (size_t i = 0; i + 1 < kSize; ++i) midpoints[i] = (table[i] + table[i + 1]) / 2;
  return midpoints;
}

float largest_magnitude(const float* values, int64_t count) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(values[i]));
  return largest;
}

float scaled(float value, float absmax) {
  return std::clamp(value * (1.0f / std::max(absmax, 1e-38f)), -1.0f, 1.0f);
}

// Both values of every byte, so that a byte is one look-up.
struct Pair {
  float first, second;
};
std::array<Pair, 256> make_pairs() {
  std::array<Pair, 256> pairs{};
  for (size_t byte = 0; byte < 256; ++byte) {
    pairs[byte] = {nf4_values()[byte >> 4], nf4_values()[byte & 15]};
  }
  return pairs;
}

// `count` values (even) of one block.
LEASH_CLONES void decode_block(const uint8_t* codes, const Pair* pairs, float scale, int64_t count,
                               float* out) {
  for (int64_t i = 0; i < count / 2; ++i) std::memcpy(out + 2 * i, &pairs[codes[i]], sizeof(Pair));
  for (int64_t i = 0; i < count; ++i) out[i] *= scale;
}

class Nf4Rows final : public PackedRows {
 public:
  explicit Nf4Rows(Nf4Matrix matrix) : matrix_(std::move(matrix)) {}
  int64_t num_rows() const override { return matrix_.rows; }
  int64_t num_columns() const override { return matrix_.columns; }
  int64_t bytes() const override {
    return static_cast<int64_t>(matrix_.codes.nbytes() + matrix_.scale_codes.nbytes() +
                                matrix_.scale_scales.nbytes() + sizeof(float));
  }
  void decode(int64_t row, int64_t count, float* out) const override {
    static const std::array<Pair, 256> pairs = make_pairs();
    const uint8_t* codes = matrix_.codes.const_data_ptr<uint8_t>();
    const int64_t end = (row + count) * matrix_.columns;
    for (int64_t i = row * matrix_.columns; i < end;) {
      const float scale = scale_of(i / kNf4Block);
      const int64_t stop = std::min(end, (i / kNf4Block + 1) * kNf4Block);
      if (i % 2 == 1) {  // rows of odd length
        *out++ = pairs[codes[i / 2]].second * scale;
        if (++i == stop) continue;
      }
      const int64_t whole = (stop - i) / 2 * 2;
      decode_block(codes + i / 2, pairs.data(), scale, whole, out);
      i += whole;
      out += whole;
      if (i < stop) {
        *out++ = pairs[codes[i / 2]].first * scale;
        ++i;
      }
    }
  }

  at::Device device() const override { return matrix_.codes.device(); }
  std::shared_ptr<const PackedRows> to(at::Device device) const override {
    Nf4Matrix moved = matrix_;
    moved.codes = matrix_.codes.to(device);
    moved.scale_codes = matrix_.scale_codes.to(device);
    moved.scale_scales = matrix_.scale_scales.to(device);
    return std::make_shared<Nf4Rows>(std::move(moved));
  }
  void decode_into(int64_t row, int64_t count, const at::Tensor& out) const override {
    if (matrix_.codes.is_cpu()) return decode(row, count, out.mutable_data_ptr<float>());
    decode_nf4_on_device(matrix_, row * matrix_.columns, out);
  }

 private:
  float scale_of(int64_t block) const {
    const float code = dynamic_map()[matrix_.scale_codes.const_data_ptr<uint8_t>()[block]];
    return code * matrix_.scale_scales.const_data_ptr<float>()[block / kNf4ScalesBlock] +
           matrix_.scale_offset;
  }

  Nf4Matrix matrix_;
};

// The second quantisation: scales less their mean, in blocks of 256.
void quantize_scales(const at::Tensor& absmax, Nf4Matrix& matrix) {
  static const auto midpoints = midpoints_of(dynamic_map());
  const at::Tensor mean = absmax.mean();
  const at::Tensor centred = absmax.sub(mean);
  const int64_t count = centred.numel();
  matrix.scale_offset = mean.item<float>();
  matrix.scale_codes = at::empty({count}, at::kByte);
  matrix.scale_scales = at::empty({(count + kNf4ScalesBlock - 1) / kNf4ScalesBlock}, at::kFloat);
  const float* values = centred.const_data_ptr<float>();
  uint8_t* codes = matrix.scale_codes.mutable_data_ptr<uint8_t>();
  float* scales = matrix.scale_scales.mutable_data_ptr<float>();
  for (int64_t begin = 0; begin < count; begin += kNf4ScalesBlock) {
    const int64_t size = std::min(kNf4ScalesBlock, count - begin);
    const float largest = largest_magnitude(values + begin, size);
    scales[begin / kNf4ScalesBlock] = largest;
    for (int64_t i = begin; i < begin + size; ++i) {
      codes[i] = nearest<256>(midpoints, scaled(values[i], largest));
    }
  }
}

std::array<float, 256> make_dynamic_map() {
  std::vector<float> values = {0.0f, 1.0f};
  for (int exponent = 0; exponent < 7; ++exponent) {
    const int items = 1 << exponent;  // the fraction's share of the bits: the midpoints of a grid
    const float step = 0.9f / static_cast<float>(items);
    const auto boundary = [&](int i) {  // from the nearer end, as linspace does it
      return i < (items + 1) / 2 ? 0.1f + step * static_cast<float>(i)
                                 : 1.0f - step * static_cast<float>(items - i);
    };
    for (int i = 0; i < items; ++i) {
      const float middle = (boundary(i) + boundary(i + 1)) / 2;
      const float value = static_cast<float>(std::pow(10.0, exponent - 6)) * middle;
      values.push_back(value);
      values.push_back(-value);
    }
  }
  std::array<float, 256> map{};
  TORCH_CHECK(values.size() == map.size(), "the dynamic map has 256 entries");
  std::copy(values.begin(), values.end(), map.begin());
  std::sort(map.begin(), map.end());
  return map;
}

}  // namespace

const std::array<float, 16>& nf4_values() {
  static const std::array<float, 16> values = [] {
    std::array<float, 16> table{};
    for (size_t code = 0; code < table.size(); ++code) {
      table[code] = nf4_code_value(static_cast<int>(code));
    }
    return table;
  }();
  return values;
}

const std::array<float, 256>& dynamic_map() {
  static const std::array<float, 256> map = make_dynamic_map();
  return map;
}

at::Tensor Nf4Matrix::scales() const {
  at::Tensor result = at::empty({scale_codes.numel()}, at::kFloat);
  const uint8_t* codes_of = scale_codes.const_data_ptr<uint8_t>();
  const float* factors = scale_scales.const_data_ptr<float>();
  float* out = result.mutable_data_ptr<float>();
  for (int64_t i = 0; i < result.numel(); ++i) {
    out[i] = dynamic_map()[codes_of[i]] * factors[i / kNf4ScalesBlock] + scale_offset;
  }
  return result;
}

Nf4Matrix quantize_nf4(const at::Tensor& weight) {
  TORCH_CHECK(weight.dim() == 2 && weight.numel() > 0, "quantize_nf4: a matrix is needed");
  static const auto midpoints = midpoints_of(nf4_values());
  const at::Tensor values = weight.to(at::kFloat).contiguous();
  TORCH_CHECK(values.isfinite().all().item<bool>(), "quantize_nf4: a weight is not finite");
  const int64_t count = values.numel();
  const int64_t blocks = (count + kNf4Block - 1) / kNf4Block;
  Nf4Matrix matrix{.rows = weight.size(0), .columns = weight.size(1)};
  matrix.codes = at::empty({(count + 1) / 2}, at::kByte);
  at::Tensor absmax = at::empty({blocks}, at::kFloat);
  const float* in = values.const_data_ptr<float>();
  uint8_t* codes = matrix.codes.mutable_data_ptr<uint8_t>();
  float* largest = absmax.mutable_data_ptr<float>();
  at::parallel_for(0, blocks, kBlocksPerTask, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const int64_t begin = block * kNf4Block;
      const int64_t end = std::min(begin + kNf4Block, count);
      largest[block] = largest_magnitude(in + begin, end - begin);
      for (int64_t i = begin; i < end; i += 2) {
        const uint8_t high = nearest<16>(midpoints, scaled(in[i], largest[block]));
        const uint8_t low = i + 1 < end ? nearest<16>(midpoints, scaled(in[i + 1], largest[block]))
                                        : nearest<16>(midpoints, 0.0f);
        codes[i / 2] = static_cast<uint8_t>(high << 4 | low);
      }
    }
  });
  quantize_scales(absmax, matrix);
  return matrix;
}

std::shared_ptr<const PackedRows> nf4_rows(Nf4Matrix matrix) {
  return std::make_shared<Nf4Rows>(std::move(matrix));
}

}  // namespace leash

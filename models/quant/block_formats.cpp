// Turning GGUF's blocks into fp32. Each function below decodes one block; the expressions keep
// ggml's order of operations, so that the results agree with its reference bit for bit (which is
// why this file is compiled without fused multiply-adds).
#include "models/quant/block_formats.h"

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>
#include <c10/util/Half.h>

#include <array>
#include <bit>
#include <cstring>

#include "models/kernels/target_clones.h"

namespace leash {

namespace {

constexpr std::array<BlockFormat, 16> kFormats = {{
    {BlockType::f32, "F32", 1, 4},
    {BlockType::f16, "F16", 1, 2},
    {BlockType::q4_0, "Q4_0", 32, 18},
    {BlockType::q4_1, "Q4_1", 32, 20},
    {BlockType::q5_0, "Q5_0", 32, 22},
    {BlockType::q5_1, "Q5_1", 32, 24},
    {BlockType::q8_0, "Q8_0", 32, 34},
    {BlockType::q4_k, "Q4_K", 256, 144},
    {BlockType::q5_k, "Q5_K", 256, 176},
    {BlockType::q6_k, "Q6_K", 256, 210},
    {BlockType::i8, "I8", 1, 1},
    {BlockType::i16, "I16", 1, 2},
    {BlockType::i32, "I32", 1, 4},
    {BlockType::i64, "I64", 1, 8},
    {BlockType::f64, "F64", 1, 8},
    {BlockType::bf16, "BF16", 1, 2},
}};

// Values that one thread is worth being woken for.
constexpr int64_t kValuesPerTask = 1 << 15;

template <class Number>
LEASH_INLINE Number load(const uint8_t* bytes) {
  Number value;
  std::memcpy(&value, bytes, sizeof(Number));
  return value;
}

LEASH_INLINE float load_half(const uint8_t* bytes) {
  return c10::detail::fp16_ieee_to_fp32_value(load<uint16_t>(bytes));
}

LEASH_INLINE int low(uint8_t byte) { return byte & 0xF; }
LEASH_INLINE int high(uint8_t byte) { return byte >> 4; }

// 16 bits of scale, 32 values of 4 bits: the low halves come first, then the high ones.
LEASH_INLINE void decode_q4_0(const uint8_t* __restrict block, float* __restrict out) {
  const float scale = load_half(block);
  const uint8_t* quants = block + 2;
#pragma omp simd
  for (int i = 0; i < 16; ++i) {
    const int first = low(quants[i]);
    const int second = high(quants[i]);
    out[i] = static_cast<float>(first - 8) * scale;
    out[i + 16] = static_cast<float>(second - 8) * scale;
  }
}

LEASH_INLINE void decode_q4_1(const uint8_t* __restrict block, float* __restrict out) {
  const float scale = load_half(block);
  const float minimum = load_half(block + 2);
  const uint8_t* quants = block + 4;
#pragma omp simd
  for (int i = 0; i < 16; ++i) {
    const int first = low(quants[i]);
    const int second = high(quants[i]);
    out[i] = static_cast<float>(first) * scale + minimum;
    out[i + 16] = static_cast<float>(second) * scale + minimum;
  }
}

// The fifth bits of all 32 values stand together in front of the others.
LEASH_INLINE void decode_q5_0(const uint8_t* __restrict block, float* __restrict out) {
  const float scale = load_half(block);
  const auto fifth = load<uint32_t>(block + 2);
  const uint8_t* quants = block + 6;
#pragma omp simd
  for (int i = 0; i < 16; ++i) {
    const int first = low(quants[i]) | static_cast<int>((fifth >> i & 1) << 4);
    const int second = high(quants[i]) | static_cast<int>((fifth >> (i + 16) & 1) << 4);
    out[i] = static_cast<float>(first - 16) * scale;
    out[i + 16] = static_cast<float>(second - 16) * scale;
  }
}

LEASH_INLINE void decode_q5_1(const uint8_t* __restrict block, float* __restrict out) {
  const float scale = load_half(block);
  const float minimum = load_half(block + 2);
  const auto fifth = load<uint32_t>(block + 4);
  const uint8_t* quants = block + 8;
#pragma omp simd
  for (int i = 0; i < 16; ++i) {
    const int first = low(quants[i]) | static_cast<int>((fifth >> i & 1) << 4);
    const int second = high(quants[i]) | static_cast<int>((fifth >> (i + 16) & 1) << 4);
    out[i] = static_cast<float>(first) * scale + minimum;
    out[i + 16] = static_cast<float>(second) * scale + minimum;
  }
}

LEASH_INLINE void decode_q8_0(const uint8_t* __restrict block, float* __restrict out) {
  const float scale = load_half(block);
#pragma omp simd
  for (int i = 0; i < 32; ++i) {
    out[i] = static_cast<float>(static_cast<int8_t>(block[2 + i])) * scale;
  }
}

// Q4_K and Q5_K: eight groups of 32 values, whose scales and minima of 6 bits each share 12 bytes.
struct GroupScale {
  float scale;
  float minimum;
};

LEASH_INLINE GroupScale group_scale(const uint8_t* block, int group) {
  const float scale = load_half(block);
  const float minimum = load_half(block + 2);
  const uint8_t* packed = block + 4;
  int scale_bits = 0;
  int minimum_bits = 0;
  if (group < 4) {
    scale_bits = packed[group] & 63;
    minimum_bits = packed[group + 4] & 63;
  } else {
    scale_bits = low(packed[group + 4]) | (packed[group - 4] >> 6) << 4;
    minimum_bits = high(packed[group + 4]) | (packed[group] >> 6) << 4;
  }
  return {scale * static_cast<float>(scale_bits), minimum * static_cast<float>(minimum_bits)};
}

LEASH_INLINE void decode_q4_k(const uint8_t* __restrict block, float* __restrict out) {
  const uint8_t* quants = block + 16;
  for (int pair = 0; pair < 4; ++pair, quants += 32, out += 64) {
    const GroupScale first = group_scale(block, 2 * pair);
    const GroupScale second = group_scale(block, 2 * pair + 1);
    for (int i = 0; i < 32; ++i) {
      out[i] = first.scale * static_cast<float>(low(quants[i])) - first.minimum;
      out[i + 32] = second.scale * static_cast<float>(high(quants[i])) - second.minimum;
    }
  }
}

LEASH_INLINE void decode_q5_k(const uint8_t* __restrict block, float* __restrict out) {
  const uint8_t* fifth = block + 16;  // bit g of byte i belongs to value i of group g
  const uint8_t* quants = block + 48;
  for (int pair = 0; pair < 4; ++pair, quants += 32, out += 64) {
    const GroupScale first = group_scale(block, 2 * pair);
    const GroupScale second = group_scale(block, 2 * pair + 1);
    for (int i = 0; i < 32; ++i) {
      const int a = low(quants[i]) + (fifth[i] >> (2 * pair) & 1) * 16;
      const int b = high(quants[i]) + (fifth[i] >> (2 * pair + 1) & 1) * 16;
      out[i] = first.scale * static_cast<float>(a) - first.minimum;
      out[i + 32] = second.scale * static_cast<float>(b) - second.minimum;
    }
  }
}

// Two halves of 128 values; sixteen scales of 8 bits, one for 16 values each.
LEASH_INLINE void decode_q6_k(const uint8_t* __restrict block, float* __restrict out) {
  const float scale = load_half(block + 208);
  for (int half = 0; half < 2; ++half, out += 128) {
    const uint8_t* low_bits = block + 64 * half;
    const uint8_t* high_bits = block + 128 + 32 * half;
    const uint8_t* scales = block + 192 + 8 * half;
    for (int quarter = 0; quarter < 4; ++quarter) {
      for (int i = 0; i < 32; ++i) {
        const uint8_t byte = low_bits[i + 32 * (quarter & 1)];
        const int four = quarter < 2 ? low(byte) : high(byte);
        const int value = (four | (high_bits[i] >> (2 * quarter) & 3) << 4) - 32;
        const auto group = static_cast<int8_t>(scales[2 * quarter + i / 16]);
        out[32 * quarter + i] = scale * static_cast<float>(group) * static_cast<float>(value);
      }
    }
  }
}

template <class Number>
LEASH_INLINE float number_at(const uint8_t* bytes) {
  return static_cast<float>(load<Number>(bytes));
}
LEASH_INLINE float bf16_at(const uint8_t* bytes) {
  return std::bit_cast<float>(static_cast<uint32_t>(load<uint16_t>(bytes)) << 16);
}

// Plain numbers of Size bytes.
template <float (*number)(const uint8_t*), int64_t Size>
LEASH_INLINE void decode_numbers(const std::byte* bytes, int64_t count, float* __restrict out) {
  const auto* __restrict from = reinterpret_cast<const uint8_t*>(bytes);
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) out[i] = number(from + i * Size);
}

// The decoder is a template argument so that it is inlined into the loop over blocks.
template <void (*decode)(const uint8_t*, float*)>
LEASH_INLINE void decode_all(const BlockFormat& format, const std::byte* bytes, int64_t count,
                             float* out) {
  const auto* block = reinterpret_cast<const uint8_t*>(bytes);
  for (int64_t i = 0; i < count; i += format.values, block += format.bytes) decode(block, out + i);
}

}  // namespace

std::optional<BlockFormat> block_format(uint32_t ggml_type) {
  for (const auto& format : kFormats) {
    if (static_cast<uint32_t>(format.type) == ggml_type) return format;
  }
  return std::nullopt;
}

const BlockFormat& block_format(BlockType type) {
  for (const auto& format : kFormats) {
    if (format.type == type) return format;
  }
  TORCH_CHECK(false, "no format for block type ", static_cast<uint32_t>(type));
}

int64_t block_bytes(BlockType type, int64_t count) {
  const BlockFormat& format = block_format(type);
  TORCH_CHECK(count >= 0 && count % format.values == 0, count, " values are not whole blocks of ",
              format.values);
  return count / format.values * format.bytes;
}

LEASH_CLONES void dequantize_blocks(BlockType type, const std::byte* bytes, int64_t count,
                                    float* out) {
  const BlockFormat& format = block_format(type);
  TORCH_CHECK(count % format.values == 0, count, " values are not whole blocks");
  switch (type) {
    case BlockType::f32:
      return decode_numbers<number_at<float>, 4>(bytes, count, out);
    case BlockType::f16:
      return decode_numbers<load_half, 2>(bytes, count, out);
    case BlockType::q4_0:
      return decode_all<decode_q4_0>(format, bytes, count, out);
    case BlockType::q4_1:
      return decode_all<decode_q4_1>(format, bytes, count, out);
    case BlockType::q5_0:
      return decode_all<decode_q5_0>(format, bytes, count, out);
    case BlockType::q5_1:
      return decode_all<decode_q5_1>(format, bytes, count, out);
    case BlockType::q8_0:
      return decode_all<decode_q8_0>(format, bytes, count, out);
    case BlockType::q4_k:
      return decode_all<decode_q4_k>(format, bytes, count, out);
    case BlockType::q5_k:
      return decode_all<decode_q5_k>(format, bytes, count, out);
    case BlockType::q6_k:
      return decode_all<decode_q6_k>(format, bytes, count, out);
    case BlockType::i8:
      return decode_numbers<number_at<int8_t>, 1>(bytes, count, out);
    case BlockType::i16:
      return decode_numbers<number_at<int16_t>, 2>(bytes, count, out);
    case BlockType::i32:
      return decode_numbers<number_at<int32_t>, 4>(bytes, count, out);
    case BlockType::i64:
      return decode_numbers<number_at<int64_t>, 8>(bytes, count, out);
    case BlockType::f64:
      return decode_numbers<number_at<double>, 8>(bytes, count, out);
    case BlockType::bf16:
      return decode_numbers<bf16_at, 2>(bytes, count, out);
  }
}

void dequantize(BlockType type, std::span<const std::byte> bytes, int64_t count, float* out) {
  const BlockFormat& format = block_format(type);
  TORCH_CHECK(static_cast<int64_t>(bytes.size()) == block_bytes(type, count), bytes.size(),
              " bytes for ", count, " values of type ", format.name);
  const int64_t blocks = count / format.values;
  at::parallel_for(0, blocks, kValuesPerTask / format.values, [&](int64_t begin, int64_t end) {
    dequantize_blocks(type, bytes.data() + begin * format.bytes, (end - begin) * format.values,
                      out + begin * format.values);
  });
}

}  // namespace leash

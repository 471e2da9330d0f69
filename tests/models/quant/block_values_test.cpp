// The arithmetic of the kernels that decode compressed weights, on the CPU: value by value the bits
// of the CPU's own decoding.
#include "models/quant/block_values.h"

#include <c10/util/Half.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "models/quant/block_formats.h"
#include "models/quant/nf4.h"
#include "models/quant/nf4_values.h"
#include "models/random/random.h"

namespace leash {
namespace {

constexpr BlockType kBlockTypes[] = {
    BlockType::f32,  BlockType::f16,  BlockType::q4_0, BlockType::q4_1,
    BlockType::q5_0, BlockType::q5_1, BlockType::q8_0, BlockType::q4_k,
    BlockType::q5_k, BlockType::q6_k, BlockType::i8,   BlockType::i16,
    BlockType::i32,  BlockType::i64,  BlockType::f64,  BlockType::bf16};

// Equal bits, or both NaN (random bytes make some scales NaN, whose payloads are nobody's).
bool same(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) || std::memcmp(&a, &b, sizeof(a)) == 0;
}

TEST(BlockValues, EveryHalf) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    ASSERT_TRUE(same(block_values::half(half), c10::detail::fp16_ieee_to_fp32_value(half))) << bits;
  }
}

TEST(BlockValues, AreTheBitsOfDequantizeBlocks) {
  for (const BlockType type : kBlockTypes) {
    const BlockFormat& format = block_format(type);
    SCOPED_TRACE(std::string(format.name));
    constexpr int64_t kBlocks = 200;
    std::vector<std::byte> bytes(static_cast<size_t>(kBlocks * format.bytes));
    for (size_t i = 0; i < bytes.size(); ++i) {
      bytes[i] = static_cast<std::byte>(
          draw_bits({.seed = static_cast<uint64_t>(type), .purpose = Purpose::noise}, i));
    }
    std::vector<float> expected(static_cast<size_t>(kBlocks * format.values));
    dequantize_blocks(type, bytes.data(), kBlocks * format.values, expected.data());
    const auto* blocks = reinterpret_cast<const uint8_t*>(bytes.data());
    for (int64_t i = 0; i < std::ssize(expected); ++i) {
      const float value = block_value(type, blocks + i / format.values * format.bytes,
                                      static_cast<int>(i % format.values));
      ASSERT_TRUE(same(value, expected[static_cast<size_t>(i)]))
          << "value " << i << ": " << value << ", not " << expected[static_cast<size_t>(i)];
    }
  }
}

TEST(Nf4Values, AreTheBitsOfItsRows) {
  for (size_t code = 0; code < 16; ++code) {
    EXPECT_EQ(nf4_code_value(static_cast<int>(code)), nf4_values()[code]);
  }
  // Rows of odd length, so that bytes and blocks cross them, and enough blocks for two scales'
  // scales.
  const at::Tensor weight =
      normal_tensor(DrawKey{.seed = 3, .purpose = Purpose::noise}, {301, 73}, 0, 1);
  const Nf4Matrix matrix = quantize_nf4(weight);
  ASSERT_EQ(matrix.scale_scales.numel(), 2);
  const Nf4Pointers pointers{.codes = matrix.codes.const_data_ptr<uint8_t>(),
                             .scale_codes = matrix.scale_codes.const_data_ptr<uint8_t>(),
                             .scale_scales = matrix.scale_scales.const_data_ptr<float>(),
                             .dynamic_map = dynamic_map().data(),
                             .scale_offset = matrix.scale_offset};
  std::vector<float> expected(301 * 73);
  nf4_rows(matrix)->decode(0, 301, expected.data());
  for (int64_t i = 0; i < std::ssize(expected); ++i) {
    ASSERT_TRUE(same(nf4_value(pointers, i), expected[static_cast<size_t>(i)])) << "value " << i;
  }
}

}  // namespace
}  // namespace leash

// GGUF's blocks: bit for bit what gguf-py makes of them (tests/golden/make_gguf.py), in whole
// tensors, in single rows, and on several threads.
#include "models/quant/block_formats.h"

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "models/io/safetensors.h"
#include "tests/support/files.h"

namespace leash {
namespace {

constexpr BlockType kAll[] = {BlockType::f32,  BlockType::f16,  BlockType::bf16, BlockType::q4_0,
                              BlockType::q4_1, BlockType::q5_0, BlockType::q5_1, BlockType::q8_0,
                              BlockType::q4_k, BlockType::q5_k, BlockType::q6_k};

struct Golden {
  at::Tensor bytes;   // uint8
  at::Tensor values;  // fp32
  std::span<const std::byte> span() const {
    return {static_cast<const std::byte*>(bytes.const_data_ptr()), bytes.nbytes()};
  }
};

class GoldenBlockFormats : public ::testing::TestWithParam<BlockType> {
 protected:
  Golden golden() const {
    const auto file = open_safetensors(testing::repository("tests/golden/gguf/blocks.safetensors"));
    const std::string name(block_format(GetParam()).name);
    return {file->read(name + ".bytes", at::kByte).clone(),
            file->read(name + ".values", at::kFloat).clone()};
  }
  void expect_bits(const float* actual, const at::Tensor& expected, int64_t from,
                   int64_t count) const {
    const float* wanted = expected.const_data_ptr<float>() + from;
    for (int64_t i = 0; i < count; ++i) {
      ASSERT_EQ(std::memcmp(actual + i, wanted + i, sizeof(float)), 0)
          << block_format(GetParam()).name << " value " << from + i << ": " << actual[i]
          << " instead of " << wanted[i];
    }
  }
};

TEST_P(GoldenBlockFormats, EqualGgufPyBitForBit) {
  const Golden golden = this->golden();
  const int64_t count = golden.values.numel();
  ASSERT_EQ(block_bytes(GetParam(), count), static_cast<int64_t>(golden.bytes.nbytes()));
  std::vector<float> values(static_cast<size_t>(count));
  dequantize(GetParam(), golden.span(), count, values.data());
  expect_bits(values.data(), golden.values, 0, count);
}

TEST_P(GoldenBlockFormats, ABlockAloneIsTheSame) {
  const Golden golden = this->golden();
  const BlockFormat& format = block_format(GetParam());
  std::vector<float> values(static_cast<size_t>(format.values));
  for (int64_t block = 0; block * format.values < golden.values.numel(); ++block) {
    dequantize_blocks(GetParam(), golden.span().data() + block * format.bytes, format.values,
                      values.data());
    expect_bits(values.data(), golden.values, block * format.values, format.values);
  }
}

TEST_P(GoldenBlockFormats, UnalignedBytesAreRead) {
  const Golden golden = this->golden();
  std::vector<std::byte> shifted(golden.span().size() + 1);
  std::memcpy(shifted.data() + 1, golden.span().data(), golden.span().size());
  std::vector<float> values(static_cast<size_t>(golden.values.numel()));
  dequantize(GetParam(), std::span(shifted).subspan(1), golden.values.numel(), values.data());
  expect_bits(values.data(), golden.values, 0, golden.values.numel());
}

// Long enough for several tasks of parallel_for.
TEST_P(GoldenBlockFormats, ManyBlocksAreEachInTheirPlace) {
  const Golden golden = this->golden();
  const int64_t count = golden.values.numel();
  const int64_t repeats = (int64_t{1} << 17) / count + 1;
  const at::Tensor bytes = golden.bytes.repeat({repeats});
  std::vector<float> values(static_cast<size_t>(repeats * count));
  dequantize(GetParam(), {static_cast<const std::byte*>(bytes.const_data_ptr()), bytes.nbytes()},
             repeats * count, values.data());
  for (int64_t i = 0; i < repeats; ++i) {
    expect_bits(values.data() + i * count, golden.values, 0, count);
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, GoldenBlockFormats, ::testing::ValuesIn(kAll),
                         [](const auto& info) {
                           return std::string(block_format(info.param).name);
                         });

TEST(BlockFormats, TypeNumbersAreGgmls) {
  for (const BlockType type : kAll) {
    const auto found = block_format(static_cast<uint32_t>(type));
    ASSERT_TRUE(found);
    EXPECT_EQ(found->type, type);
  }
  // Q8_1, Q2_K, Q3_K, Q8_K, IQ2_XXS, and numbers that ggml does not have or took back.
  for (const uint32_t type : {9u, 10u, 11u, 15u, 16u, 4u, 5u, 31u, 36u, 1000u, 0xffffffffu}) {
    EXPECT_FALSE(block_format(type)) << type;
  }
}

TEST(BlockFormats, IntegersAndDoubles) {
  const int8_t small[] = {-128, 0, 127};
  float out[3];
  dequantize(BlockType::i8, std::as_bytes(std::span(small)), 3, out);
  EXPECT_EQ(out[0], -128.0F);
  EXPECT_EQ(out[2], 127.0F);
  const int64_t large[] = {int64_t{1} << 40, -3};
  dequantize(BlockType::i64, std::as_bytes(std::span(large)), 2, out);
  EXPECT_EQ(out[0], 1099511627776.0F);
  EXPECT_EQ(out[1], -3.0F);
  const double wide[] = {0.1};
  dequantize(BlockType::f64, std::as_bytes(std::span(wide)), 1, out);
  EXPECT_EQ(out[0], 0.1F);
}

TEST(BlockFormats, PartsOfBlocksAreRefused) {
  EXPECT_EQ(block_bytes(BlockType::q6_k, 0), 0);
  EXPECT_EQ(block_bytes(BlockType::q6_k, 512), 420);
  EXPECT_THROW(block_bytes(BlockType::q6_k, 255), c10::Error);
  EXPECT_THROW(block_bytes(BlockType::q4_0, -32), c10::Error);
  std::vector<std::byte> bytes(18);
  float out[64];
  EXPECT_THROW(dequantize(BlockType::q4_0, bytes, 64, out), c10::Error);
  EXPECT_THROW(dequantize_blocks(BlockType::q4_0, bytes.data(), 16, out), c10::Error);
}

}  // namespace
}  // namespace leash

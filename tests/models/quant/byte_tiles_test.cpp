// 8-bit products: what is kept exactly, what is rounded and by how much, and the kernel against
// plain loops.
#include "models/quant/byte_tiles.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

#include "models/errors.h"
#include "models/quant/fast_weight.h"
#include "models/quant/packed_rows.h"
#include "models/quant/quantized_weight.h"
#include "tests/support/random_blocks.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using testing::all_close;
using testing::normal;
using testing::random_blocks;
using testing::same_bits;

const std::vector<BlockType> kCoded = {BlockType::q4_0, BlockType::q4_1, BlockType::q5_0,
                                       BlockType::q5_1, BlockType::q8_0};
const std::vector<BlockType> kTwoScales = {BlockType::q4_k, BlockType::q5_k};

at::Tensor dense_of(const BlockMatrix& blocks) {
  return quantized_weight({packed_rows(blocks, "x")})->dense();
}

// What the codes of an input stand for.
at::Tensor rounded(const ByteInput& input) {
  at::Tensor x = at::empty({input.rows, input.columns}, at::kFloat);
  auto* out = x.mutable_data_ptr<float>();
  for (size_t i = 0; i < input.codes.size(); ++i) {
    out[i] = input.scales[i / kByteBlock] * static_cast<float>(input.codes[i]);
  }
  return x;
}

TEST(ByteTiles, BlocksOfOneScaleKeepTheirValues) {
  for (const BlockType type : kCoded) {
    SCOPED_TRACE(std::string(block_format(type).name));
    const BlockMatrix blocks = random_blocks(type, 37, 256, 3);
    const at::Tensor dense = dense_of(blocks);
    // Q4_1 and Q5_1 are scale × code + minimum in both; the others scale × (code - offset).
    EXPECT_TRUE(all_close(fast_weight({byte_tiles(blocks, "x")})->dense(), dense, 0, 0));
  }
}

TEST(ByteTiles, ProductsOfScalesAreRoundedToHalf) {
  for (const BlockType type : kTwoScales) {
    SCOPED_TRACE(std::string(block_format(type).name));
    const BlockMatrix blocks = random_blocks(type, 37, 512, 3);
    const at::Tensor dense = dense_of(blocks);
    const at::Tensor kept = fast_weight({byte_tiles(blocks, "x")})->dense();
    // Scale and minimum of up to 0.02 · 63 each move by 2^-11 at most, the scale's times 31.
    EXPECT_TRUE(all_close(kept, dense, 0, 1.26 * 32 / 2048));
    EXPECT_LT((kept - dense).norm().item<double>(), 4e-4 * dense.norm().item<double>());
  }
}

TEST(ByteTiles, OtherTypesAndPlainWeightsAreRoundedToEightBits) {
  const at::Tensor weight = normal({37, 256}, 4);
  const at::Tensor kept = fast_weight({byte_tiles(weight, "x")})->dense();
  const at::Tensor largest =
      weight.view({37, 8, 32}).abs().amax(2, /*keepdim=*/true).expand({37, 8, 32});
  // Half a step, and what rounding the scale to fp16 adds to it at the largest value.
  EXPECT_TRUE((kept - weight)
                  .abs()
                  .le(largest.reshape({37, 256}) * (0.5 / 127 + 1.0 / 2048))
                  .all()
                  .item<bool>());
  const BlockMatrix blocks = random_blocks(BlockType::q6_k, 37, 256, 3);
  EXPECT_TRUE(same_bits(fast_weight({byte_tiles(blocks, "x")})->dense(),
                        fast_weight({byte_tiles(dense_of(blocks), "x")})->dense()));
  EXPECT_EQ(fast_weight({byte_tiles(at::zeros({3, 64}), "x")})->dense().abs().max().item<float>(),
            0);
}

TEST(ByteTiles, TakeAsManyBytesAsTheFile) {
  for (const BlockType type : {BlockType::q4_0, BlockType::q4_1, BlockType::q8_0}) {
    const BlockMatrix blocks = random_blocks(type, 32, 64, 3);
    EXPECT_EQ(fast_weight({byte_tiles(blocks, "x")})->bytes(),
              static_cast<int64_t>(blocks.bytes.nbytes()));
  }
}

TEST(ByteInput, IsWithinHalfAStep) {
  at::Tensor x = normal({5, 96}, 7);
  x[2].zero_();
  const ByteInput input = byte_input(x);
  const at::Tensor largest =
      x.view({5, 3, 32}).abs().amax(2, /*keepdim=*/true).expand({5, 3, 32}).reshape({5, 96});
  EXPECT_TRUE((rounded(input) - x).abs().le(largest * (0.5001 / 127)).all().item<bool>());
  for (size_t block = 0; block < input.sums.size(); ++block) {
    int32_t sum = 0;
    for (size_t i = 0; i < kByteBlock; ++i) sum += input.codes[block * kByteBlock + i];
    EXPECT_EQ(input.sums[block], sum);
    EXPECT_EQ(input.scaled_sums[block], input.scales[block] * static_cast<float>(sum));
  }
}

TEST(ByteInput, WhatIsNotFiniteStaysSo) {
  const auto weight = fast_weight({byte_tiles(normal({20, 96}, 4), "x")});
  for (const float broken : {NAN, INFINITY, -INFINITY}) {
    at::Tensor x = normal({3, 96}, 7);
    x[1][40] = broken;
    const at::Tensor y = weight->multiply(x);
    EXPECT_FALSE(y[1].isfinite().any().item<bool>());
    EXPECT_TRUE(y[0].isfinite().all().item<bool>() && y[2].isfinite().all().item<bool>());
  }
}

// Of rounded numbers on both sides the product is what fp64 says, up to fp32's sums.
TEST(ByteProduct, EqualsTheProductOfWhatTheCodesStandFor) {
  std::vector<BlockType> types = kCoded;
  types.insert(types.end(), kTwoScales.begin(), kTwoScales.end());
  types.push_back(BlockType::q6_k);
  for (const BlockType type : types) {
    const auto weight = fast_weight({byte_tiles(random_blocks(type, 53, 512, 3), "x")});
    const at::Tensor dense = weight->dense().to(at::kDouble);
    for (const int64_t rows : {1, 2, 3, 7, 8, 15, 16, 33}) {
      SCOPED_TRACE(std::string(block_format(type).name) + ", rows " + std::to_string(rows));
      const at::Tensor x = normal({rows, 512}, 7);
      const at::Tensor codes = rounded(byte_input(x)).to(at::kDouble);
      const at::Tensor size = codes.abs().matmul(dense.t().abs());
      const at::Tensor difference = weight->multiply(x).to(at::kDouble) - codes.matmul(dense.t());
      EXPECT_LT(difference.abs().div(size + 1e-30).max().item<double>(), 1e-6);
    }
  }
}

TEST(ByteProduct, TheKernelHasTheBitsOfPlainLoops) {
  if (!has_byte_product()) GTEST_SKIP() << "no AVX-512 VNNI: the plain loops are all there is";
  for (const BlockType type :
       {BlockType::q4_0, BlockType::q4_1, BlockType::q8_0, BlockType::q5_1}) {
    const ByteTiles tiles = byte_tiles(random_blocks(type, 53, 256, 3), "x");
    for (const int64_t rows : {1, 2, 3, 4, 7, 8, 16, 21}) {
      const ByteInput input = byte_input(normal({rows, 256}, 7));
      for (const int64_t first : {0, 1, 3}) {
        SCOPED_TRACE(std::string(block_format(type).name) + ", rows " + std::to_string(rows));
        const int64_t outputs = tiles.rows - first * kTileRows;
        at::Tensor kernel = at::zeros({rows, outputs}), plain = at::zeros({rows, outputs});
        byte_product(input, tiles, first, 4, kernel.mutable_data_ptr<float>(), outputs);
        byte_product_plain(input, tiles, first, 4, plain.mutable_data_ptr<float>(), outputs);
        EXPECT_TRUE(same_bits(kernel, plain));
      }
    }
  }
}

TEST(FastWeight, PartsRowsAndRefusals) {
  const std::vector<ByteTiles> parts = {byte_tiles(random_blocks(BlockType::q4_k, 9, 256, 1), "q"),
                                        byte_tiles(random_blocks(BlockType::q6_k, 35, 256, 2), "k"),
                                        byte_tiles(normal({3, 256}, 3), "v")};
  const auto weight = fast_weight(parts);
  const at::Tensor whole =
      at::cat({fast_weight({parts[0]})->dense(), fast_weight({parts[1]})->dense(),
               fast_weight({parts[2]})->dense()});
  EXPECT_TRUE(same_bits(weight->dense(), whole));
  const at::Tensor x = normal({5, 256}, 7);
  EXPECT_TRUE(same_bits(weight->multiply(x), at::cat({fast_weight({parts[0]})->multiply(x),
                                                      fast_weight({parts[1]})->multiply(x),
                                                      fast_weight({parts[2]})->multiply(x)},
                                                     1)));
  EXPECT_EQ(weight->multiply(x.to(at::kBFloat16)).scalar_type(), at::kBFloat16);
  EXPECT_EQ(weight->multiply(at::zeros({0, 256})).size(0), 0);
  const at::Tensor ids = at::tensor({46, 0, 9, 44, 0}, at::kLong);
  EXPECT_TRUE(same_bits(weight->rows(ids), whole.index_select(0, ids)));
  EXPECT_THROW(weight->rows(at::tensor({47}, at::kLong)), c10::Error);
  EXPECT_THROW(weight->multiply_transposed(at::zeros({2, 47})), c10::Error);
  EXPECT_THROW(byte_tiles(normal({3, 48}, 3), "x"), c10::Error);
  EXPECT_THROW(byte_tiles(at::zeros({1, 32}).fill_(1e8), "x"), FormatError);
}

}  // namespace
}  // namespace leash

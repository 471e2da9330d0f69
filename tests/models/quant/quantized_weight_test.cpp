// Products from quantised blocks against the dense weight, for every type.
#include "models/quant/quantized_weight.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "models/errors.h"
#include "models/quant/int8.h"
#include "models/quant/nf4.h"
#include "models/quant/row_products.h"
#include "models/random/random.h"
#include "tests/support/random_blocks.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using testing::all_close;
using testing::normal;
using testing::random_blocks;
using testing::same_bits;

const std::vector<BlockType> kWeightTypes = {BlockType::q4_0, BlockType::q4_1, BlockType::q5_0,
                                             BlockType::q5_1, BlockType::q8_0, BlockType::q4_k,
                                             BlockType::q5_k, BlockType::q6_k, BlockType::f32,
                                             BlockType::f16,  BlockType::bf16};

struct WeightCase {
  std::string name;
  std::shared_ptr<const WeightSource> weight;
};

std::vector<WeightCase> all_kinds(int64_t rows, int64_t columns) {
  std::vector<WeightCase> cases;
  for (const BlockType type : kWeightTypes) {
    cases.push_back({std::string(block_format(type).name),
                     quantized_weight({packed_rows(random_blocks(type, rows, columns, 3), "x")})});
  }
  cases.push_back({"nf4", quantized_weight({nf4_rows(quantize_nf4(normal({rows, columns}, 4)))})});
  cases.push_back(
      {"int8", quantized_weight({int8_rows(quantize_int8(normal({rows, columns}, 5)))})});
  return cases;
}

// |actual - expected| in units of the row's Σ |x w|, which bounds what rounding can do.
void expect_product(const at::Tensor& actual, const at::Tensor& left, const at::Tensor& right,
                    double relative) {
  const at::Tensor expected = left.to(at::kDouble).matmul(right.to(at::kDouble));
  const at::Tensor size = left.to(at::kDouble).abs().matmul(right.to(at::kDouble).abs());
  ASSERT_EQ(actual.sizes(), expected.sizes());
  const double worst =
      (actual.to(at::kDouble) - expected).abs().div(size + 1e-30).max().item<double>();
  EXPECT_LT(worst, relative);
}

TEST(QuantizedWeight, ProductsEqualThoseOfTheDenseWeight) {
  for (const WeightCase& kind : all_kinds(70, 512)) {
    const at::Tensor dense = kind.weight->dense();
    ASSERT_EQ(dense.sizes(), (std::vector<int64_t>{70, 512}));
    for (const int64_t rows : {1, 3, 17, 32, 33, 64}) {
      SCOPED_TRACE(kind.name + ", rows " + std::to_string(rows));
      const at::Tensor x = normal({rows, 512}, 7);
      const at::Tensor dy = normal({rows, 70}, 8);
      expect_product(kind.weight->multiply(x), x, dense.t(), 1e-6);
      expect_product(kind.weight->multiply_transposed(dy), dy, dense, 1e-6);
      // In fp32 on both sides: 1e-5 of the values, where sums cancel of the largest one.
      const at::Tensor y = x.matmul(dense.t());
      const at::Tensor dx = dy.matmul(dense);
      EXPECT_TRUE(all_close(kind.weight->multiply(x), y, 1e-5, 2e-6 * y.abs().max().item<float>()));
      EXPECT_TRUE(all_close(kind.weight->multiply_transposed(dy), dx, 1e-5,
                            2e-6 * dx.abs().max().item<float>()));
    }
  }
}

TEST(QuantizedWeight, AWeightOfSeveralTiles) {
  const auto weight =
      quantized_weight({packed_rows(random_blocks(BlockType::q4_1, 2100, 512, 3), "x")});
  const at::Tensor x = normal({40, 512}, 7);
  const at::Tensor dy = normal({40, 2100}, 8);
  expect_product(weight->multiply(x), x, weight->dense().t(), 1e-6);
  expect_product(weight->multiply_transposed(dy), dy, weight->dense(), 1e-6);
}

TEST(QuantizedWeight, PartsOfDifferentTypes) {
  std::vector<std::shared_ptr<const PackedRows>> parts = {
      packed_rows(random_blocks(BlockType::q4_k, 9, 256, 1), "q"),
      packed_rows(random_blocks(BlockType::q6_k, 5, 256, 2), "k"),
      nf4_rows(quantize_nf4(normal({6, 256}, 4))),
      packed_rows(random_blocks(BlockType::f32, 3, 256, 3), "v")};
  std::vector<at::Tensor> dense;
  for (const auto& part : parts) dense.push_back(quantized_weight({part})->dense());
  const auto weight = quantized_weight(parts);
  const at::Tensor whole = at::cat(dense);
  EXPECT_TRUE(same_bits(weight->dense(), whole));
  for (const int64_t rows : {2, 50}) {
    const at::Tensor x = normal({rows, 256}, 7);
    const at::Tensor dy = normal({rows, 23}, 8);
    expect_product(weight->multiply(x), x, whole.t(), 1e-6);
    expect_product(weight->multiply_transposed(dy), dy, whole, 1e-6);
  }
  const at::Tensor ids = at::tensor({22, 0, 9, 13, 14, 0}, at::kLong);
  EXPECT_TRUE(same_bits(weight->rows(ids), whole.index_select(0, ids)));
  EXPECT_THROW(weight->rows(at::tensor({23}, at::kLong)), c10::Error);
  EXPECT_THROW(weight->rows(at::tensor({-1}, at::kLong)), c10::Error);
}

TEST(QuantizedWeight, Bfloat16AndDoubleActivations) {
  const auto weight = quantized_weight({nf4_rows(quantize_nf4(normal({70, 192}, 4)))});
  for (const int64_t rows : {3, 50}) {
    const at::Tensor x = normal({rows, 192}, 7).to(at::kBFloat16);
    const at::Tensor y = weight->multiply(x);
    EXPECT_EQ(y.scalar_type(), at::kBFloat16);
    // Rounded once, at the end.
    EXPECT_TRUE(
        all_close(y.to(at::kFloat), x.to(at::kFloat).matmul(weight->dense().t()), 1.0 / 256, 1e-5));
    const at::Tensor wide = normal({rows, 192}, 7).to(at::kDouble);
    expect_product(weight->multiply(wide), wide, weight->dense().t(), 1e-15);
  }
}

TEST(QuantizedWeight, OddShapes) {
  // NF4 blocks that cross rows, rows of odd length, and no rows at all.
  for (const int64_t columns : {1, 45, 90, 65}) {
    const Nf4Matrix matrix = quantize_nf4(normal({7, columns}, 4));
    const auto weight = quantized_weight({nf4_rows(matrix)});
    const at::Tensor whole = weight->dense();
    for (int64_t i = 0; i < 7; ++i) {
      EXPECT_TRUE(same_bits(weight->rows(at::tensor({i}, at::kLong)), whole.narrow(0, i, 1)));
    }
    const at::Tensor x = normal({3, columns}, 7);
    expect_product(weight->multiply(x), x, whole.t(), 1e-6);
    EXPECT_EQ(weight->multiply(at::zeros({0, columns})).size(0), 0);
    EXPECT_EQ(weight->multiply_transposed(at::zeros({0, 7})).size(0), 0);
  }
  EXPECT_THROW(
      quantized_weight({nf4_rows(quantize_nf4(normal({7, 4}, 4)))})->multiply(at::zeros({2, 5})),
      c10::Error);
}

TEST(QuantizedWeight, QuantisationErrorIsBounded) {
  const at::Tensor weight = normal({64, 256}, 4);
  const auto error = [&](const std::shared_ptr<const PackedRows>& rows) {
    const at::Tensor difference = quantized_weight({rows})->dense() - weight;
    return (difference.norm() / weight.norm()).item<double>();
  };
  EXPECT_LT(error(nf4_rows(quantize_nf4(weight))), 0.10);  // 0.094 for a normal distribution
  EXPECT_LT(error(int8_rows(quantize_int8(weight))), 0.01);
  const at::Tensor zeros = at::zeros({2, 128});
  EXPECT_TRUE(same_bits(quantized_weight({int8_rows(quantize_int8(zeros))})->dense(), zeros));
  EXPECT_EQ(quantized_weight({nf4_rows(quantize_nf4(zeros))})->dense().abs().max().item<float>(),
            0);
  const at::Tensor broken = at::zeros({2, 128}).fill_(NAN);
  EXPECT_THROW(quantize_nf4(broken), c10::Error);
  EXPECT_THROW(quantize_int8(broken), c10::Error);
}

TEST(QuantizedWeight, BytesAreThoseOfTheBlocks) {
  EXPECT_EQ(packed_rows(random_blocks(BlockType::q4_1, 4, 64, 1), "x")->bytes(), 4 * 2 * 20);
  EXPECT_EQ(nf4_rows(quantize_nf4(normal({8, 4096}, 1)))->bytes(), 8 * 2048 + 512 + 2 * 4 + 4);
  EXPECT_EQ(int8_rows(quantize_int8(normal({8, 100}, 1)))->bytes(), 800 + 32);
  EXPECT_EQ(dense_weight(at::zeros({3, 5}))->bytes(), 60);
}

TEST(QuantizedWeight, RowsThatAreNotWholeBlocksAreAnError) {
  const auto problem = [](const BlockMatrix& blocks) {
    try {
      packed_rows(blocks, "m.gguf: blk.0.attn_q.weight");
    } catch (const FormatError& error) {
      return std::string(error.what());
    }
    return std::string("none");
  };
  EXPECT_EQ(problem({BlockType::q4_0, 48, at::zeros({2, 27}, at::kByte)}),
            "m.gguf: blk.0.attn_q.weight: rows of 48 values are not whole blocks of 32 (Q4_0)");
  EXPECT_EQ(problem({BlockType::q6_k, 0, at::zeros({2, 0}, at::kByte)}),
            "m.gguf: blk.0.attn_q.weight: rows of 0 values are not whole blocks of 256 (Q6_K)");
  EXPECT_EQ(problem({BlockType::q4_0, 64, at::zeros({2, 35}, at::kByte)}),
            "m.gguf: blk.0.attn_q.weight: a row of 64 Q4_0 values takes 36 bytes, this one has 35");
}

TEST(RowProducts, EqualPlainLoops) {
  for (const int64_t n : {1, 15, 16, 33, 576}) {
    for (const int64_t x_rows : {1, 2, 3, 4, 5, 9}) {
      for (const int64_t w_rows : {1, 3, 4, 7}) {
        const at::Tensor x = normal({x_rows, n}, 1);
        const at::Tensor w = normal({w_rows, n}, 2);
        at::Tensor y = at::zeros({x_rows, w_rows + 2});  // columns that must stay untouched
        row_products(x.const_data_ptr<float>(), x_rows, w.const_data_ptr<float>(), w_rows, n,
                     y.mutable_data_ptr<float>(), w_rows + 2);
        expect_product(y.narrow(1, 0, w_rows), x, w.t(), 1e-6);
        EXPECT_EQ(y.narrow(1, w_rows, 2).abs().max().item<float>(), 0);
      }
    }
  }
}

// Against float64 of the rounded factors: a model in bf16 multiplies bf16, whatever it is kept as.
TEST(QuantizedWeight, ProductsInBfloat16RoundBothFactors) {
  const std::vector<std::shared_ptr<const PackedRows>> parts = {
      nf4_rows(quantize_nf4(normal({70, 192}, 4))), int8_rows(quantize_int8(normal({41, 192}, 5)))};
  const auto weight = quantized_weight(parts, at::kBFloat16);
  const at::Tensor dense = weight->dense(), rounded = dense.to(at::kBFloat16).to(at::kDouble);
  EXPECT_FALSE(at::equal(dense.to(at::kDouble), rounded)) << "dense() is as it is kept";
  const auto narrow = [](const at::Tensor& x) { return x.to(at::kBFloat16).to(at::kDouble); };
  for (const int64_t rows : {1, 7, 8, 33, 300}) {
    const at::Tensor x = normal({rows, 192}, 7), dy = normal({rows, 111}, 8);
    const auto error = [](const at::Tensor& found, const at::Tensor& wanted) {
      return found.to(at::kDouble).sub(wanted).abs().max().item<double>();
    };
    EXPECT_LT(error(weight->multiply(x), narrow(x).matmul(rounded.t())), 2e-4) << rows;
    EXPECT_LT(error(weight->multiply_transposed(dy), narrow(dy).matmul(rounded)), 2e-4) << rows;
  }
}

}  // namespace
}  // namespace leash

#include "models/kernels/packed_product.h"

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <vector>

#include "models/weights/packed_weight.h"

namespace leash {
namespace {

using panels::Kind;

at::Tensor in_doubles(const at::Tensor& x) { return x.to(at::kDouble); }
double distance_from(const at::Tensor& x, const at::Tensor& wanted) {
  return in_doubles(x).sub(wanted).abs().max().item<double>();
}

// fp32 and bf16, each where the machine has it.
class PackedProduct : public ::testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override {
    if (!PackedMatrix::fits(GetParam(), at::kCPU)) GTEST_SKIP() << "not on this machine";
  }
  // What the product makes of its left factor.
  at::Tensor seen(const at::Tensor& x) const { return in_doubles(x.to(GetParam())); }
  at::Tensor weight(int64_t out, int64_t in) const { return at::randn({out, in}).to(GetParam()); }
};

// Against float64: every remainder of rows, outputs and inputs to the sizes of tile, panel, pair
// and of the parts by which panels are turned.
TEST_P(PackedProduct, AgreesWithTheProductInFloat64) {
  for (const int64_t out : {1, 15, 16, 17, 40, 48, 49, 130, 600}) {
    for (const int64_t in : {1, 2, 7, 16, 31, 33, 64, 97, 2100}) {
      const at::Tensor w = weight(out, in);
      const PackedMatrix packed(w);
      EXPECT_TRUE(at::equal(packed.dense(), w));
      for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 70}) {
        const at::Tensor x = at::randn({rows, in}), dy = at::randn({rows, out});
        const double size = 3e-6 * static_cast<double>(std::max(in, out)) + 1e-6;
        EXPECT_LT(distance_from(packed.multiply(x), seen(x).matmul(in_doubles(w).t())), size)
            << rows << "x" << in << "x" << out;
        EXPECT_LT(distance_from(packed.multiply_transposed(dy), seen(dy).matmul(in_doubles(w))),
                  size)
            << rows << "x" << out << "x" << in << " transposed";
      }
    }
  }
  const at::Tensor w = weight(200, 96);
  for (const int64_t rows : {513, 1100, 4096}) {  // several blocks of rows
    const at::Tensor x = at::randn({rows, 96}), dy = at::randn({rows, 200});
    EXPECT_LT(distance_from(PackedMatrix(w).multiply(x), seen(x).matmul(in_doubles(w).t())), 1e-3);
    EXPECT_LT(
        distance_from(PackedMatrix(w).multiply_transposed(dy), seen(dy).matmul(in_doubles(w))),
        1e-3);
  }
}

// What sampling and training have in common: one order of additions.
TEST_P(PackedProduct, ARowDoesNotDependOnItsNeighboursNorOnThreads) {
  const PackedMatrix packed(weight(200, 2100));
  const at::Tensor x = at::randn({300, 2100}), dy = at::randn({300, 200});
  const at::Tensor y = packed.multiply(x), dx = packed.multiply_transposed(dy);
  const int threads = at::get_num_threads();
  for (const int count : {1, 3}) {
    at::set_num_threads(count);
    for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 64, 65, 300}) {
      const int64_t first = 300 - rows;
      EXPECT_TRUE(at::equal(packed.multiply(x.narrow(0, first, rows)), y.narrow(0, first, rows)));
      EXPECT_TRUE(at::equal(packed.multiply_transposed(dy.narrow(0, first, rows)),
                            dx.narrow(0, first, rows)));
    }
  }
  at::set_num_threads(threads);
}

TEST_P(PackedProduct, AddsGivesRowsAndTakesRowsThatLieApart) {
  const at::Tensor w = weight(70, 33);
  const PackedMatrix packed(w), other(packed.panels(), 70, 33);
  const at::Tensor apart = at::randn({9, 50}).narrow(1, 4, 33);
  EXPECT_TRUE(at::equal(other.multiply(apart), packed.multiply(apart.contiguous())));
  EXPECT_TRUE(at::equal(packed.multiply(apart.t().contiguous().t()), packed.multiply(apart)));
  const at::Tensor dy = at::randn({9, 70}), sum = at::full({9, 33}, 2.0, at::kFloat);
  packed.multiply_transposed_into(sum, dy, /*add=*/true);
  EXPECT_LT(distance_from(sum, seen(dy).matmul(in_doubles(w)).add(2.0)), 1e-4);
  const at::Tensor ids = at::tensor(std::vector<int64_t>{69, 0, 17, 17}, at::kLong);
  EXPECT_TRUE(at::equal(packed.rows(ids), w.to(at::kFloat).index_select(0, ids)));
  EXPECT_EQ(packed.multiply(at::randn({0, 33})).size(0), 0);
  EXPECT_THROW(packed.rows(at::tensor(std::vector<int64_t>{70}, at::kLong)), c10::IndexError);
  EXPECT_THROW(packed.multiply(at::randn({2, 70})), c10::Error);
  EXPECT_THROW(PackedMatrix(packed.panels(), 33, 33), c10::Error);
}

INSTANTIATE_TEST_SUITE_P(Types, PackedProduct, ::testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& info) { return std::string(c10::toString(info.param)); });

// The instruction's own order and roundings are those of the plain loops.
TEST(Panels, PlainLoopsGiveTheSameBits) {
  for (const Kind kind : {Kind::single, Kind::pairs}) {
    if (!panels::has(kind)) continue;
    const at::ScalarType type = kind == Kind::single ? at::kFloat : at::kBFloat16;
    const PackedMatrix packed(at::randn({49, 77}).to(type));
    const ProductRows rows(at::randn({11, 77}), kind);
    const at::Tensor fast = at::randn({11, 49}), plain = fast.clone();
    panels::Product product{
        .kind = kind,
        .left = rows.words,
        .panels = static_cast<const uint32_t*>(packed.panels().const_data_ptr()),
        .left_stride = rows.stride,
        .panel_stride = panels::kOutputs * panels::words_of(kind, 77),
        .rows = 11,
        .words = panels::words_of(kind, 77),
        .columns = 49,
        .out = fast.mutable_data_ptr<float>(),
        .out_stride = 49,
        .add = true};
    panels::multiply(product);
    product.out = plain.mutable_data_ptr<float>();
    panels::multiply_plain(product);
    EXPECT_TRUE(at::equal(fast, plain));
  }
}

// Rounds to the nearest, ties to even, as LibTorch does.
TEST(Panels, RoundsToBfloat16) {
  const at::Tensor x =
      at::cat({at::randn({1000}), at::tensor({1.00390625, 1.01171875, 3e38, 0.0})}).to(at::kFloat);
  std::vector<uint16_t> rounded(1004, 7);
  panels::round_row(x.const_data_ptr<float>(), 1003, rounded.data());
  EXPECT_EQ(rounded[1003], 0) << "behind an odd number";
  const at::Tensor wanted = x.to(at::kBFloat16);
  for (size_t i = 0; i < 1003; ++i)
    EXPECT_EQ(rounded[i], wanted.const_data_ptr<at::BFloat16>()[i].x) << i;
}

// bf16 without the instruction, against float64 of the rounded factors.
TEST(UnpackedWeight, RoundsBothFactors) {
  const at::Tensor w = at::randn({300, 2100}).to(at::kBFloat16);
  const at::Tensor x = at::randn({5, 2100}), dy = at::randn({5, 300});
  const auto weight = unpacked_weight(w), packed = packed_weight(w);
  const at::Tensor y = in_doubles(x.to(at::kBFloat16)).matmul(in_doubles(w).t());
  const at::Tensor dx = in_doubles(dy.to(at::kBFloat16)).matmul(in_doubles(w));
  for (const auto& each : {weight, packed}) {
    EXPECT_EQ(each->multiply(x).scalar_type(), at::kFloat);
    EXPECT_LT(distance_from(each->multiply(x), y), 1e-3);
    EXPECT_LT(distance_from(each->multiply_transposed(dy), dx), 1e-3);
    EXPECT_EQ(each->bytes(), 2 * 300 * 2100);
    EXPECT_TRUE(at::equal(each->dense(), w));
    EXPECT_TRUE(at::equal(each->rows(at::tensor(std::vector<int64_t>{7, 0}, at::kLong)),
                          w.to(at::kFloat).index_select(0, at::tensor({7, 0}, at::kLong))));
  }
}

}  // namespace
}  // namespace leash

#include "models/attention/fused_attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <limits>
#include <string>
#include <vector>

#include "models/attention/attention.h"

namespace leash {
namespace {

constexpr int64_t kPositions = 2048;

// Numbers that look random, of about unit variance.
at::Tensor sines(int64_t rows, int64_t columns, double seed) {
  return at::linspace(seed, seed + 1, rows * columns, at::kDouble)
      .mul(static_cast<double>(rows * columns) * 12.9898)
      .sin()
      .mul(1.4)
      .to(at::kFloat)
      .view({rows, columns});
}

int64_t sum_of(const std::vector<int64_t>& lengths) {
  int64_t sum = 0;
  for (const int64_t length : lengths) sum += length;
  return sum;
}

// A packed batch, with dL/dout.
struct Batch {
  Batch(HeadShape shape_, std::vector<int64_t> lengths_, std::vector<int64_t> prefixes_ = {},
        int64_t rotary_dim = 0)
      : shape(shape_),
        lengths(std::move(lengths_)),
        prefixes(std::move(prefixes_)),
        table(
            rope_table({.theta = 10000, .rotary_dim = rotary_dim > 0 ? rotary_dim : shape.head_dim},
                       kPositions)) {
    const int64_t tokens = sum_of(lengths);
    qkv = sines(tokens, (shape.num_heads + 2 * shape.num_kv_heads) * shape.head_dim, 1);
    dy = sines(tokens, shape.num_heads * shape.head_dim, 2);
    positions = at::arange(tokens, at::kLong).mul(7).remainder(kPositions);
  }
  HeadShape shape;
  std::vector<int64_t> lengths, prefixes;
  RopeTable table;
  at::Tensor qkv, dy, positions;
  AttentionRule rule;
};

struct Attended {
  at::Tensor out, gradient;
};
Attended attend(const Batch& batch, at::ScalarType dtype = at::kFloat) {
  const at::Tensor input = batch.qkv.to(dtype).detach().clone().requires_grad_(true);
  const at::Tensor y = packed_self_attention(input, batch.positions, batch.table, batch.shape,
                                             batch.lengths, batch.prefixes, {}, batch.rule);
  return {y.detach(), torch::autograd::grad({y}, {input}, {batch.dy.to(dtype)})[0]};
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return a.to(at::kDouble).sub(b.to(at::kDouble)).abs().max().item<double>();
}

bool able(const HeadShape& shape) {
  return fused_attention_fits(at::TensorOptions(at::kFloat), shape);
}

void expect_equals_float64(const Batch& batch, const std::string& what) {
  const Attended ours = attend(batch), exact = attend(batch, at::kDouble);
  EXPECT_LT(largest_difference(ours.out, exact.out), 5e-6) << what;
  EXPECT_LT(largest_difference(ours.gradient, exact.gradient), 5e-5) << what;
}

#define NEEDS_AVX512(shape) \
  if (!able(shape)) GTEST_SKIP() << "no AVX-512 here"

// Every remainder of rows to tiles, vectors and blocks, each alone in its batch.
TEST(FusedAttention, EqualsFloat64ForEveryLength) {
  const HeadShape shape{.num_heads = 6, .num_kv_heads = 2, .head_dim = 32};
  NEEDS_AVX512(shape);
  for (const int64_t length : {1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 95, 97, 200, 515, 1100}) {
    expect_equals_float64(Batch(shape, {length}), std::to_string(length) + " rows");
  }
}

TEST(FusedAttention, EqualsFloat64ForEveryShape) {
  for (const int64_t head_dim : {16, 32, 48, 64, 80, 112, 128}) {
    for (const int64_t group : {1, 3, 4}) {
      const HeadShape shape{.num_heads = 2 * group, .num_kv_heads = 2, .head_dim = head_dim};
      NEEDS_AVX512(shape);
      const std::string what = std::to_string(head_dim) + " x " + std::to_string(group);
      expect_equals_float64(Batch(shape, {33, 70}), what);
      expect_equals_float64(Batch(shape, {21, 70}, {-1, 0}, /*rotary_dim=*/head_dim / 2),
                            "partly rotated, " + what);
    }
  }
}

// Prefixes that no, one and several sequences continue; some longer than what continues them.
TEST(FusedAttention, EqualsFloat64BehindSharedPrefixes) {
  const HeadShape shape{.num_heads = 6, .num_kv_heads = 2, .head_dim = 16};
  NEEDS_AVX512(shape);
  const std::vector<std::vector<int64_t>> lengths = {
      {31, 95, 95, 1}, {1, 1, 2, 30},          {16, 17, 5},
      {200, 3, 64},    {3, 48, 20, 100, 7, 9}, {300, 600}};
  const std::vector<std::vector<int64_t>> prefixes = {
      {-1, 0, 0, 0}, {-1, 0, 0, 0}, {-1, 0, 0}, {-1, 0, 0}, {-1, -1, 1, 0, 1, -1}, {-1, 0}};
  for (size_t i = 0; i < lengths.size(); ++i)
    expect_equals_float64(Batch(shape, lengths[i], prefixes[i]), "case " + std::to_string(i));
}

// Windows on both sides of every border: of vectors, blocks of keys and rows, parts and prefixes.
TEST(FusedAttention, EqualsFloat64InWindows) {
  const HeadShape shape{.num_heads = 6, .num_kv_heads = 2, .head_dim = 16};
  NEEDS_AVX512(shape);
  const std::vector<std::vector<int64_t>> lengths = {
      {9}, {64}, {515}, {31, 95, 95, 1}, {200, 3, 64}, {96, 300, 1}};
  const std::vector<std::vector<int64_t>> prefixes = {{},         {},        {}, {-1, 0, 0, 0},
                                                      {-1, 0, 0}, {-1, 0, 0}};
  for (size_t i = 0; i < lengths.size(); ++i) {
    Batch batch(shape, lengths[i], prefixes[i]);
    for (const int64_t window : {1, 2, 8, 15, 16, 17, 33, 63, 64, 65, 95, 96, 97, 128, 200, 259}) {
      batch.rule.window = window;
      expect_equals_float64(batch,
                            "case " + std::to_string(i) + ", window " + std::to_string(window));
    }
  }
}

// Soft caps and biases of long texts, alone and in windows.
TEST(FusedAttention, EqualsFloat64WithChangedScores) {
  const HeadShape shape{.num_heads = 4, .num_kv_heads = 2, .head_dim = 32};
  NEEDS_AVX512(shape);
  for (const int64_t window : {0, 50}) {
    for (const double softcap : {0.0, 1.5, 50.0}) {
      for (const bool alibi : {false, true}) {
        Batch batch(shape, {40, 150, 97, 201}, {-1, 0, 0, -1});
        batch.rule = {.scale = 0.2, .window = window, .softcap = softcap, .slopes = {}};
        if (alibi) batch.rule.slopes = at::linspace(0.01, 0.6, 4, at::kFloat);
        ASSERT_TRUE(fused_attention_fits(at::TensorOptions(at::kFloat), shape, batch.rule));
        expect_equals_float64(batch, "window " + std::to_string(window) + ", cap " +
                                         std::to_string(softcap) + (alibi ? ", alibi" : ""));
      }
    }
  }
}

// Blocks of keys that lie before all windows are not read.
TEST(FusedAttention, KeysBeforeAWindowAreNotRead) {
  const HeadShape shape{.num_heads = 2, .num_kv_heads = 1, .head_dim = 16};
  NEEDS_AVX512(shape);
  Batch batch(shape, {200, 60}, {-1, 0});
  batch.rule.window = 20;
  const Attended before = attend(batch);
  batch.qkv.narrow(0, 0, 96).fill_(std::numeric_limits<float>::quiet_NaN());
  const Attended after = attend(batch);
  EXPECT_TRUE(at::equal(after.out.narrow(0, 120, 140), before.out.narrow(0, 120, 140)));
  EXPECT_TRUE(at::equal(after.gradient.narrow(0, 200, 60), before.gradient.narrow(0, 200, 60)));
}

// A row behind a prefix is that of the whole text.
TEST(FusedAttention, APrefixCountsAsRowsOfTheText) {
  const HeadShape shape{.num_heads = 3, .num_kv_heads = 1, .head_dim = 64};
  NEEDS_AVX512(shape);
  const Batch whole(shape, {75});
  Batch split = whole;
  split.lengths = {27, 48};
  split.prefixes = {-1, 0};
  const Attended one = attend(whole), two = attend(split);
  EXPECT_LT(largest_difference(one.out, two.out), 2e-6);
  EXPECT_LT(largest_difference(one.gradient, two.gradient), 2e-5);
}

TEST(FusedAttention, ThreadsChangeNoBit) {
  const HeadShape shape{.num_heads = 6, .num_kv_heads = 2, .head_dim = 32};
  NEEDS_AVX512(shape);
  Batch batch(shape, {31, 95, 700, 64, 5}, {-1, 0, 0, 0, -1});
  batch.rule = {.window = 300, .softcap = 5.0, .slopes = {}};
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const Attended one = attend(batch);
  for (const int count : {2, 3}) {
    at::set_num_threads(count);
    for (int again = 0; again < 3; ++again) {
      const Attended several = attend(batch);
      EXPECT_TRUE(at::equal(one.out, several.out));
      EXPECT_TRUE(at::equal(one.gradient, several.gradient));
    }
  }
  at::set_num_threads(threads);
}

// The same bits alone as between others, whatever those hold; gradients too, without a prefix.
TEST(FusedAttention, ASequenceDoesNotDependOnItsNeighbours) {
  const HeadShape shape{.num_heads = 6, .num_kv_heads = 2, .head_dim = 32};
  NEEDS_AVX512(shape);
  for (const int64_t length : {1, 13, 95, 300}) {
    Batch batch(shape, {21, length, 40});
    batch.qkv.narrow(0, 0, 21).fill_(std::numeric_limits<float>::quiet_NaN());
    batch.qkv.narrow(0, 21 + length, 40).fill_(std::numeric_limits<float>::infinity());
    Batch alone = batch;
    alone.lengths = {length};
    alone.qkv = batch.qkv.narrow(0, 21, length).clone();
    alone.dy = batch.dy.narrow(0, 21, length).clone();
    alone.positions = batch.positions.narrow(0, 21, length).clone();
    const Attended all = attend(batch), one = attend(alone);
    EXPECT_TRUE(at::equal(all.out.narrow(0, 21, length), one.out)) << length;
    EXPECT_TRUE(at::equal(all.gradient.narrow(0, 21, length), one.gradient)) << length;
    EXPECT_TRUE(all.out.narrow(0, 0, 21).isnan().all().item<bool>());
  }
}

// A row's bits do not depend on how many rows follow it, nor on whether a gradient is wanted.
TEST(FusedAttention, ARowDoesNotDependOnWhatFollows) {
  const HeadShape shape{.num_heads = 3, .num_kv_heads = 1, .head_dim = 64};
  NEEDS_AVX512(shape);
  const Batch batch(shape, {600});
  const at::Tensor all = attend(batch).out;
  for (const int64_t length : {1, 9, 64, 100, 599}) {
    Batch shorter = batch;
    shorter.lengths = {length};
    const at::Tensor y = packed_self_attention(batch.qkv.narrow(0, 0, length).clone(),
                                               batch.positions.narrow(0, 0, length).clone(),
                                               batch.table, shape, {length});
    EXPECT_TRUE(at::equal(all.narrow(0, 0, length), y)) << length;
  }
}

// What is not a number does not turn into one, and rows before it keep theirs.
TEST(FusedAttention, KeepsWhatIsNoNumber) {
  const HeadShape shape{.num_heads = 2, .num_kv_heads = 1, .head_dim = 16};
  NEEDS_AVX512(shape);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinite = std::numeric_limits<float>::infinity();
  const at::Tensor plain = attend(Batch(shape, {40})).out;
  for (const float bad : {nan, infinite, -infinite}) {
    Batch query(shape, {40}), key(shape, {40});
    query.qkv[20][3] = bad;  // of the first head
    key.qkv[20][2 * 16 + 3] = bad;
    const Attended of_query = attend(query), of_key = attend(key);
    EXPECT_TRUE(of_query.out[20].narrow(0, 0, 16).isnan().all().item<bool>()) << bad;
    EXPECT_TRUE(at::equal(of_query.out[20].narrow(0, 16, 16), plain[20].narrow(0, 16, 16)));
    EXPECT_TRUE(at::equal(of_query.out.narrow(0, 21, 19), plain.narrow(0, 21, 19)));
    EXPECT_TRUE(of_query.gradient[20].narrow(0, 0, 16).isnan().any().item<bool>()) << bad;
    EXPECT_TRUE(at::equal(of_key.out.narrow(0, 0, 20), plain.narrow(0, 0, 20))) << bad;
    if (bad == -infinite) continue;  // a query may give it no weight
    EXPECT_TRUE(of_key.out[20].isnan().all().item<bool>()) << bad;
  }
}

// Scores far apart and far from zero: one key takes all the weight.
TEST(FusedAttention, TakesLargeScores) {
  const HeadShape shape{.num_heads = 4, .num_kv_heads = 1, .head_dim = 64};
  NEEDS_AVX512(shape);
  Batch batch(shape, {70, 50}, {-1, 0});
  batch.qkv.mul_(30);
  const Attended ours = attend(batch), exact = attend(batch, at::kDouble);
  EXPECT_TRUE(ours.out.isfinite().all().item<bool>());
  EXPECT_LT(largest_difference(ours.out, exact.out), 0.05);
}

// What a pass writes, it writes whole: results over memory full of NaN are the same.
TEST(FusedAttention, ReadsNoMemoryThatItDidNotWrite) {
  const HeadShape shape{.num_heads = 6, .num_kv_heads = 2, .head_dim = 48};
  NEEDS_AVX512(shape);
  Batch batch(shape, {9, 30, 77, 300}, {-1, 0, 0, -1});
  batch.rule = {.window = 70, .softcap = 9.0, .slopes = {}};
  const Attended first = attend(batch);
  for (int again = 0; again < 3; ++again) {
    std::vector<at::Tensor> dirty;  // what the allocator hands out next
    for (const int64_t size : {1 << 12, 1 << 15, 1 << 17, 1 << 18, 1 << 19, 1 << 20}) {
      for (int i = 0; i < 3; ++i)
        dirty.push_back(
            at::full({size + i * 16}, std::numeric_limits<float>::quiet_NaN(), at::kFloat));
    }
    dirty.clear();
    const Attended second = attend(batch);
    EXPECT_TRUE(at::equal(first.out, second.out));
    EXPECT_TRUE(at::equal(first.gradient, second.gradient));
  }
}

// The node keeps the projection, the output and a number per row and head, and lets go of them.
TEST(FusedAttention, KeepsTheProjectionItself) {
  const HeadShape shape{.num_heads = 3, .num_kv_heads = 1, .head_dim = 16};
  NEEDS_AVX512(shape);
  const Batch batch(shape, {20});
  const at::Tensor input = batch.qkv.clone().requires_grad_(true);
  const auto before = input.storage().use_count();
  {
    const at::Tensor y =
        packed_self_attention(input, batch.positions, batch.table, shape, batch.lengths);
    EXPECT_EQ(input.storage().use_count(), before + 1);
  }
  EXPECT_EQ(input.storage().use_count(), before);
}

TEST(FusedAttention, OtherTypesAndWidthsGoTheOtherWay) {
  EXPECT_FALSE(fused_attention_fits(at::TensorOptions(at::kDouble), {3, 1, 64}));
  EXPECT_FALSE(fused_attention_fits(at::TensorOptions(at::kBFloat16), {3, 1, 64}));
  EXPECT_FALSE(fused_attention_fits(at::TensorOptions(at::kFloat), {3, 1, 24}));
  const AttentionRule rounded{.slopes = at::ones({3}), .bfloat16_bias = true};
  EXPECT_FALSE(fused_attention_fits(at::TensorOptions(at::kFloat), {3, 1, 64}, rounded));
}

}  // namespace
}  // namespace leash

// The cache as the decoder sees it: rows go where they belong, and nothing is written past the end.
#include "rollout/kv_cache.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/support/tensors.h"

namespace leash {
namespace {

constexpr int64_t kHeads = 3, kDim = 4;

DecoderConfig tiny() {
  DecoderConfig config;
  config.num_layers = 2;
  config.num_kv_heads = kHeads;
  config.head_dim = kDim;
  return config;
}

// Rows that all differ. [rows, heads, dim]
at::Tensor rows_from(int64_t rows, double start, at::ScalarType dtype = at::kFloat) {
  return at::arange(rows * kHeads * kDim, at::kDouble)
      .add(start)
      .view({rows, kHeads, kDim})
      .to(dtype);
}

void forward(KvCache& cache, const std::vector<int64_t>& slots, const std::vector<int64_t>& lengths,
             const at::Tensor& rows) {
  cache.select(slots);
  for (const int64_t layer : {0, 1})
    cache.append(layer, rows + layer, rows + 1000 + layer, lengths);
  cache.commit(lengths);
}

at::Tensor held(KvCache& cache, int64_t layer, int64_t slot) {  // keys, [rows, heads, dim]
  cache.select({slot});
  const auto none = at::empty({0, kHeads, kDim}, at::kFloat);
  const CachedLayer view = cache.append(layer, none, none, {0});
  return view.keys.select(0, slot).narrow(1, 0, view.past->at(0)).transpose(0, 1).contiguous();
}

TEST(KvCache, AppendsBehindWhatASlotHolds) {
  KvCache cache(tiny(), 3, 6);
  EXPECT_EQ(cache.acquire(), 0);
  EXPECT_EQ(cache.acquire(), 1);
  const auto prompt = rows_from(5, 0);  // 2 rows of slot 1, then 3 of slot 0
  forward(cache, {1, 0}, {2, 3}, prompt);
  const auto next = rows_from(2, 500);
  forward(cache, {0, 1}, {1, 1}, next);
  EXPECT_EQ(cache.length(0), 4);
  EXPECT_EQ(cache.length(1), 3);
  for (const int64_t layer : {0, 1}) {
    const auto zero = at::cat({prompt.narrow(0, 2, 3), next.narrow(0, 0, 1)});
    const auto one = at::cat({prompt.narrow(0, 0, 2), next.narrow(0, 1, 1)});
    EXPECT_TRUE(testing::same_bits(held(cache, layer, 0), zero + layer));
    EXPECT_TRUE(testing::same_bits(held(cache, layer, 1), one + layer));
  }
}

TEST(KvCache, ShowsTheDecoderOldAndNewRows) {
  KvCache cache(tiny(), 2, 4, at::kDouble);
  cache.acquire();
  cache.select({0});
  const auto first = rows_from(2, 0, at::kDouble);
  const CachedLayer view = cache.append(1, first, first + 7, {2});
  EXPECT_EQ(*view.slots, std::vector<int64_t>{0});
  EXPECT_EQ(*view.past, std::vector<int64_t>{0});
  EXPECT_TRUE(testing::same_bits(
      view.values.select(0, 0).narrow(1, 0, 2).transpose(0, 1).contiguous(), first + 7));
  EXPECT_EQ(cache.length(0), 0) << "before the commit";
  cache.commit({2});
  EXPECT_EQ(cache.length(0), 2);
}

TEST(KvCache, TakesRowsOfAnyLayout) {
  KvCache cache(tiny(), 1, 4);
  cache.acquire();
  const auto wide = rows_from(2, 0).view({2, kHeads * kDim});
  const auto fused = at::cat({wide, wide + 50}, 1);  // as a fused projection gives it
  const auto part = fused.narrow(1, kHeads * kDim, kHeads * kDim).view({2, kHeads, kDim});
  forward(cache, {0}, {2}, part);
  EXPECT_TRUE(testing::same_bits(held(cache, 0, 0), (wide + 50).view({2, kHeads, kDim})));
  const auto turned = rows_from(2, 9).transpose(1, 2).contiguous().transpose(1, 2);
  ASSERT_NE(turned.stride(2), 1);
  forward(cache, {0}, {2}, turned);
  EXPECT_TRUE(testing::same_bits(held(cache, 1, 0).narrow(0, 2, 2), rows_from(2, 9) + 1));
}

TEST(KvCache, SlotsAreTakenReleasedAndTakenAgain) {
  KvCache cache(tiny(), 2, 4);
  EXPECT_EQ(cache.acquire(), 0);
  EXPECT_EQ(cache.acquire(), 1);
  EXPECT_EQ(cache.acquire(), std::nullopt);
  forward(cache, {0, 1}, {3, 2}, rows_from(5, 0));
  cache.release(0);
  EXPECT_ANY_THROW(cache.release(0));
  EXPECT_ANY_THROW(cache.select({0}));
  EXPECT_EQ(cache.acquire(), 0);
  EXPECT_EQ(cache.length(0), 0);
  forward(cache, {0}, {1}, rows_from(1, 90));
  EXPECT_TRUE(testing::same_bits(held(cache, 0, 0), rows_from(1, 90)));
  EXPECT_EQ(cache.length(1), 2);
}

TEST(KvCache, CopiesAPrompt) {
  KvCache cache(tiny(), 3, 4);
  for (int i = 0; i < 3; ++i) cache.acquire();
  const auto rows = rows_from(4, 0);
  forward(cache, {0}, {4}, rows);
  cache.copy_prefix(0, 2, 3);
  EXPECT_EQ(cache.length(2), 3);
  for (const int64_t layer : {0, 1}) {
    EXPECT_TRUE(testing::same_bits(held(cache, layer, 2), rows.narrow(0, 0, 3) + layer));
  }
  EXPECT_ANY_THROW(cache.copy_prefix(0, 1, 5));
  EXPECT_ANY_THROW(cache.copy_prefix(0, 0, 1));
  EXPECT_ANY_THROW(cache.copy_prefix(0, 3, 1));
}

TEST(KvCache, APositionIsSeenFromItselfOn) {
  const at::Tensor past = at::arange(0, 9, 4, at::kLong);  // 0, 4, 8
  const at::Tensor visible = visible_positions(past, 9, at::kFloat);
  ASSERT_EQ(visible.sizes(), (std::vector<int64_t>{3, 9}));
  EXPECT_EQ(visible.stride(0) % 16, 0) << "as fused attention wants its masks";
  for (int64_t row = 0; row < 3; ++row) {
    for (int64_t column = 0; column < 9; ++column) {
      const auto added = visible[row][column].item<float>();
      EXPECT_EQ(added, column <= 4 * row ? 0.0f : -std::numeric_limits<float>::infinity());
    }
  }
}

// A step of all slots at once: rows go behind what each holds, the taken ones among them grow, and
// what a free slot got is gone when it is taken.
TEST(KvCache, TheFirstSlotsStepTogether) {
  KvCache cache(tiny(), 4, 6);
  for (int i = 0; i < 3; ++i) cache.acquire();
  forward(cache, {0, 2}, {3, 1}, rows_from(4, 0));
  cache.release(1);
  const std::vector<int64_t> past = {cache.filled(0), cache.filled(1), cache.filled(2)};
  EXPECT_EQ(past, (std::vector<int64_t>{3, 0, 1}));
  const at::Tensor on_device = at::tensor(past, at::kLong);
  cache.select_first(on_device, visible_positions(on_device, 4, at::kFloat));
  const auto step = rows_from(3, 700);
  for (const int64_t layer : {0, 1}) {
    const CachedLayer view = cache.append(layer, step + layer, step + 1000 + layer, {1, 1, 1});
    EXPECT_FALSE(view.slot_index.defined());
    EXPECT_EQ(view.keys.sizes(), (std::vector<int64_t>{3, kHeads, 4, kDim}));
    for (int64_t slot = 0; slot < 3; ++slot) {
      const int64_t row = past[static_cast<size_t>(slot)];
      EXPECT_TRUE(testing::same_bits(view.values.select(0, slot).select(1, row).contiguous(),
                                     step.select(0, slot) + 1000 + layer));
    }
  }
  cache.deselect();
  EXPECT_EQ(cache.length(0), 3) << "nothing was added";
  cache.grow({0, 2});
  EXPECT_TRUE(testing::same_bits(held(cache, 0, 0).narrow(0, 3, 1), step.narrow(0, 0, 1)));
  EXPECT_TRUE(testing::same_bits(held(cache, 1, 2).narrow(0, 1, 1), step.narrow(0, 2, 1) + 1));
  EXPECT_EQ(cache.acquire(), 1);
  EXPECT_EQ(cache.length(1), 0);
  for (int i = 0; i < 2; ++i) cache.grow({0});
  EXPECT_ANY_THROW(cache.grow({0})) << "full";
  EXPECT_ANY_THROW(cache.grow({3})) << "not taken";
}

TEST(KvCache, RefusesWhatDoesNotFit) {
  KvCache cache(tiny(), 2, 4);
  cache.acquire();
  cache.select({0});
  const auto rows = rows_from(5, 0);
  EXPECT_ANY_THROW(cache.append(0, rows, rows, {5})) << "past the capacity";
  EXPECT_ANY_THROW(cache.append(0, rows, rows, {4})) << "more rows than lengths say";
  EXPECT_ANY_THROW(cache.append(0, rows, rows, {2, 3})) << "more sequences than were selected";
  EXPECT_ANY_THROW(cache.append(2, rows, rows, {1})) << "no such layer";
  const auto wrong = rows_from(1, 0, at::kDouble);
  EXPECT_ANY_THROW(cache.append(0, wrong, wrong, {1})) << "another dtype";
  EXPECT_ANY_THROW(cache.commit({5}));
  EXPECT_ANY_THROW(cache.select({1})) << "a slot that nobody took";
  EXPECT_ANY_THROW(KvCache(tiny(), 0, 4));
}

TEST(KvCache, ReportsItsBytes) {
  EXPECT_EQ(KvCache(tiny(), 5, 7).bytes(), 2 * 2 * 5 * kHeads * 7 * kDim * 4);
}

}  // namespace
}  // namespace leash

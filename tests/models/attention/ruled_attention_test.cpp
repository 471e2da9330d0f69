// Every way through attention against its definition in float64 and autograd, for all combinations
// of what a rule says.
#include "models/attention/ruled_attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <limits>
#include <string>

#include "models/attention/attention.h"
#include "models/random/random.h"
#include "tests/models/attention/naive_attention.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using testing::all_close;
using testing::naive_attention;

at::Tensor ruled_noise(at::IntArrayRef shape, uint64_t index) {
  return normal_tensor(DrawKey{15, Purpose::noise, index}, shape, 0, 1).to(at::kDouble);
}

struct NamedRule {
  std::string name;
  AttentionRule rule;
};
std::vector<NamedRule> all_rules(int64_t heads) {
  std::vector<NamedRule> rules;
  for (const int64_t window : {0, 1, 4, 17, 40}) {
    for (const double softcap : {0.0, 0.7}) {
      for (const double scale : {0.0, 0.45}) {
        for (const int alibi : {0, 1, 2}) {
          AttentionRule rule{.scale = scale, .window = window, .softcap = softcap, .slopes = {}};
          if (alibi > 0) {
            rule.slopes = at::arange(1, heads + 1, at::TensorOptions(at::kFloat)).mul(0.137f);
          }
          rule.bfloat16_bias = alibi == 2;
          rules.push_back({"window " + std::to_string(window) + ", cap " + std::to_string(softcap) +
                               ", scale " + std::to_string(scale) + ", alibi " +
                               std::to_string(alibi),
                           rule});
        }
      }
    }
  }
  return rules;
}

struct RuledTexts {
  std::vector<int64_t> lengths, prefixes;
  int64_t tokens() const {
    int64_t sum = 0;
    for (const int64_t length : lengths) sum += length;
    return sum;
  }
};
const std::vector<RuledTexts> kRuledTexts = {{{5, 1, 37}, {}},
                                             {{20, 3, 1, 19, 2}, {-1, 0, 0, -1, 3}}};

struct RuledHeads {
  int64_t heads, kv_heads, head_dim;
};
const std::vector<RuledHeads> kRuledHeads = {{4, 2, 5}, {3, 1, 16}, {2, 2, 16}};

struct RuledResult {
  at::Tensor out;
  std::vector<at::Tensor> gradients;
};
template <class Function>
RuledResult ruled_result(const std::vector<at::Tensor>& values, at::ScalarType dtype,
                         const Function& function) {
  std::vector<at::Tensor> inputs;
  for (const at::Tensor& value : values)
    inputs.push_back(
        value.detach().to(dtype, /*non_blocking=*/false, /*copy=*/true).requires_grad_(true));
  const at::Tensor y = function(inputs);
  const at::Tensor dy = ruled_noise(y.sizes(), 9).to(dtype);
  return {y.detach(), torch::autograd::grad({y}, inputs, {dy})};
}

void expect_same_attention(const RuledResult& actual, const RuledResult& expected, double tolerance,
                           const std::string& what) {
  EXPECT_TRUE(all_close(actual.out.to(at::kDouble), expected.out, 0, tolerance)) << what;
  for (size_t i = 0; i < expected.gradients.size(); ++i) {
    EXPECT_TRUE(
        all_close(actual.gradients[i].to(at::kDouble), expected.gradients[i], 0, 5 * tolerance))
        << what << ", input " << i;
  }
}

template <class Function>
void for_each_rule(const Function& function) {
  const int threads = at::get_num_threads();
  at::set_num_threads(1);  // many small cases
  for (const RuledHeads& shape : kRuledHeads) {
    for (const RuledTexts& texts : kRuledTexts) {
      for (const NamedRule& rule : all_rules(shape.heads)) {
        const std::string what =
            rule.name + ", " + std::to_string(shape.heads) + "/" + std::to_string(shape.kv_heads) +
            "x" + std::to_string(shape.head_dim) + (texts.prefixes.empty() ? "" : ", prefixes");
        function(shape, texts, rule.rule, what);
      }
    }
  }
  at::set_num_threads(threads);
}

TEST(RuledAttention, PackedEqualsItsDefinition) {
  for_each_rule([](const RuledHeads& shape, const RuledTexts& texts, const AttentionRule& rule,
                   const std::string& what) {
    const std::vector<at::Tensor> heads = {
        ruled_noise({texts.tokens(), shape.heads, shape.head_dim}, 1),
        ruled_noise({texts.tokens(), shape.kv_heads, shape.head_dim}, 2),
        ruled_noise({texts.tokens(), shape.kv_heads, shape.head_dim}, 3)};
    const RuledResult expected = ruled_result(heads, at::kDouble, [&](const auto& x) {
      return naive_attention(x[0], x[1], x[2], texts.lengths, texts.prefixes, rule);
    });
    const auto packed = [&](const auto& x) {
      return packed_attention(x[0], x[1], x[2], texts.lengths, texts.prefixes, rule);
    };
    expect_same_attention(ruled_result(heads, at::kDouble, packed), expected, 1e-12,
                          "packed, " + what);
    expect_same_attention(ruled_result(heads, at::kFloat, packed), expected, 1e-5,
                          "packed in fp32, " + what);
    expect_same_attention(ruled_result(heads, at::kDouble,
                                       [&](const auto& x) {
                                         return varlen_attention(
                                             x[0], x[1], x[2],
                                             varlen_plan(texts.lengths, texts.prefixes, at::kCPU),
                                             rule);
                                       }),
                          expected, 1e-12, "varlen, " + what);
  });
}

// From the fused projection: fp32 goes through fused_attention where it fits, float64 never does.
TEST(RuledAttention, TheFusedProjectionEqualsItsDefinition) {
  for_each_rule([](const RuledHeads& shape, const RuledTexts& texts, const AttentionRule& rule,
                   const std::string& what) {
    const int64_t tokens = texts.tokens(), heads = shape.heads, kv_heads = shape.kv_heads;
    const HeadShape head_shape{heads, kv_heads, shape.head_dim};
    const at::Tensor positions = testing::texts_of_rows(texts.lengths, texts.prefixes).places;
    const std::vector<at::Tensor> qkv = {
        ruled_noise({tokens, (heads + 2 * kv_heads) * shape.head_dim}, 4)};
    for (const int64_t rotary_dim : {int64_t{0}, int64_t{4}}) {
      const RopeTable table =
          rotary_dim == 0 ? RopeTable{} : rope_table({.theta = 100, .rotary_dim = rotary_dim}, 64);
      const RuledResult expected = ruled_result(qkv, at::kDouble, [&](const auto& x) {
        const at::Tensor all = x[0].unflatten(1, {heads + 2 * kv_heads, shape.head_dim});
        const at::Tensor turned =
            rotate_plain(all.narrow(1, 0, heads + kv_heads), positions, table);
        return naive_attention(turned.narrow(1, 0, heads), turned.narrow(1, heads, kv_heads),
                               all.narrow(1, heads + kv_heads, kv_heads), texts.lengths,
                               texts.prefixes, rule);
      });
      const auto ours = [&](const auto& x) {
        return packed_self_attention(x[0], positions, table, head_shape, texts.lengths,
                                     texts.prefixes, {}, rule);
      };
      const std::string name = what + ", rotary_dim " + std::to_string(rotary_dim);
      expect_same_attention(ruled_result(qkv, at::kDouble, ours), expected, 1e-12, name);
      expect_same_attention(ruled_result(qkv, at::kFloat, ours), expected, 1e-5, "fp32, " + name);
    }
  });
}

// More rows than are ruled_result at once, windows on both sides of the border.
TEST(RuledAttention, LongTextsInParts) {
  const RuledTexts texts{{300, 290}, {-1, 0}};
  const std::vector<at::Tensor> heads = {ruled_noise({590, 2, 4}, 1), ruled_noise({590, 1, 4}, 2),
                                         ruled_noise({590, 1, 4}, 3)};
  for (const int64_t window : {0, 3, 255, 256, 257, 310}) {
    const AttentionRule rule{.window = window, .softcap = 2.0, .slopes = {}};
    const RuledResult expected = ruled_result(heads, at::kDouble, [&](const auto& x) {
      return naive_attention(x[0], x[1], x[2], texts.lengths, texts.prefixes, rule);
    });
    expect_same_attention(ruled_result(heads, at::kDouble,
                                       [&](const auto& x) {
                                         return packed_attention(x[0], x[1], x[2], texts.lengths,
                                                                 texts.prefixes, rule);
                                       }),
                          expected, 1e-12, "window " + std::to_string(window));
  }
}

// Narrow types compute in fp32 and round results alone.
TEST(RuledAttention, Bfloat16IsFloat32Rounded) {
  const RuledTexts& texts = kRuledTexts[1];
  const std::vector<at::Tensor> heads = {ruled_noise({45, 4, 8}, 1).to(at::kBFloat16),
                                         ruled_noise({45, 2, 8}, 2).to(at::kBFloat16),
                                         ruled_noise({45, 2, 8}, 3).to(at::kBFloat16)};
  const AttentionRule rule{.window = 6, .softcap = 1.5, .slopes = {}};
  const auto packed = [&](const auto& x) {
    return packed_attention(x[0], x[1], x[2], texts.lengths, texts.prefixes, rule);
  };
  const RuledResult wide = ruled_result(heads, at::kFloat, packed);
  const RuledResult narrow = ruled_result(heads, at::kBFloat16, packed);
  EXPECT_TRUE(all_close(narrow.out.to(at::kFloat), wide.out, 0.004, 1e-6));
}

// A window as long as the longest text is none, to the bit; one row less is one.
TEST(RuledAttention, AWindowThatHoldsTheTextIsNone) {
  const at::Tensor q = ruled_noise({24, 2, 8}, 1), k = ruled_noise({24, 1, 8}, 2),
                   v = ruled_noise({24, 1, 8}, 3);
  const std::vector<int64_t> lengths = {10, 14}, prefixes = {-1, 0};
  const at::Tensor plain = packed_attention(q, k, v, lengths, prefixes);
  const auto with_window = [&](int64_t window) {
    return packed_attention(q, k, v, lengths, prefixes, {.window = window, .slopes = {}});
  };
  EXPECT_TRUE(testing::same_bits(with_window(24), plain));
  const at::Tensor shorter = with_window(23);
  EXPECT_TRUE(all_close(shorter.narrow(0, 0, 23), plain.narrow(0, 0, 23), 1e-12, 1e-12));
  EXPECT_FALSE(all_close(shorter.narrow(0, 23, 1), plain.narrow(0, 23, 1), 1e-6, 1e-6));
}

// Falcon's bias is rounded whatever the place: beyond 256 places differ by more than one bit.
TEST(RuledAttention, ARoundedBiasOfFarPlaces) {
  const std::vector<at::Tensor> heads = {ruled_noise({700, 3, 4}, 1), ruled_noise({700, 3, 4}, 2),
                                         ruled_noise({700, 3, 4}, 3)};
  AttentionRule rule;
  rule.slopes = at::tensor({0.25f, 0.0371f, 0.004f});
  rule.bfloat16_bias = true;
  const RuledResult expected = ruled_result(heads, at::kDouble, [&](const auto& x) {
    return naive_attention(x[0], x[1], x[2], {700}, {}, rule);
  });
  expect_same_attention(ruled_result(heads, at::kDouble,
                                     [&](const auto& x) {
                                       return packed_attention(x[0], x[1], x[2], {700}, {}, rule);
                                     }),
                        expected, 1e-11, "rounded");
}

// Rows of texts that lie in a cache, some behind others of the same call.
TEST(RuledAttention, CachedEqualsItsDefinition) {
  const std::vector<int64_t> slots = {2, 0}, past = {30, 0}, lengths = {7, 12};
  constexpr int64_t kRoom = 48;
  for (const RuledHeads& shape : kRuledHeads) {
    for (const NamedRule& named : all_rules(shape.heads)) {
      const at::Tensor keys = ruled_noise({3, shape.kv_heads, kRoom, shape.head_dim}, 5);
      const at::Tensor values = ruled_noise({3, shape.kv_heads, kRoom, shape.head_dim}, 6);
      const at::Tensor query = ruled_noise({19, shape.heads, shape.head_dim}, 7);
      std::vector<at::Tensor> expected;
      for (int64_t i = 0, row = 0; i < 2; row += lengths[i++]) {
        const int64_t total = past[i] + lengths[i];
        const auto rows = [&](const at::Tensor& cache) {
          return cache.select(0, slots[i]).narrow(1, 0, total).transpose(0, 1);
        };
        const at::Tensor queries = at::cat({ruled_noise({past[i], shape.heads, shape.head_dim}, 8),
                                            query.narrow(0, row, lengths[i])});
        expected.push_back(
            naive_attention(queries, rows(keys), rows(values), {total}, {}, named.rule)
                .narrow(0, past[i], lengths[i]));
      }
      for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
        const CachedLayer layer{
            .keys = keys.to(dtype), .values = values.to(dtype), .slots = &slots, .past = &past};
        const double tolerance = dtype == at::kDouble ? 1e-12 : 1e-5;
        for (const at::Tensor& y :
             {cached_attention(query.to(dtype), layer, lengths, named.rule),
              cached_attention_plain(query.to(dtype), layer, lengths, named.rule)}) {
          EXPECT_TRUE(all_close(y.to(at::kDouble), at::cat(expected), 0, tolerance)) << named.name;
        }
      }
    }
  }
}

// One row of each sequence in one call, as on a GPU.
TEST(RuledAttention, NextRowsEqualTheirDefinition) {
  const std::vector<int64_t> slots = {0, 1, 2}, past = {30, 0, 7}, lengths = {1, 1, 1};
  constexpr int64_t kSeen = 31;
  const at::Tensor past_index = at::tensor(past, at::kLong);
  const at::Tensor hidden = at::arange(kSeen, at::kLong).unsqueeze(0).gt(past_index.unsqueeze(1));
  const at::Tensor visible = at::full({3, kSeen}, 0.0, at::kDouble)
                                 .masked_fill(hidden, -std::numeric_limits<double>::infinity());
  for (const RuledHeads& shape : kRuledHeads) {
    const CachedLayer layer{.keys = ruled_noise({3, shape.kv_heads, kSeen, shape.head_dim}, 5),
                            .values = ruled_noise({3, shape.kv_heads, kSeen, shape.head_dim}, 6),
                            .slots = &slots,
                            .past = &past};
    const at::Tensor query = ruled_noise({3, shape.heads, shape.head_dim}, 7);
    for (const NamedRule& named : all_rules(shape.heads)) {
      EXPECT_TRUE(all_close(
          ruled_next_rows(query, layer.keys, layer.values, visible, past_index, named.rule),
          cached_attention_plain(query, layer, lengths, named.rule), 1e-12, 1e-12))
          << named.name;
    }
  }
}

// Rows before a window are not read: what stands there may be anything.
TEST(RuledAttention, WhatLiesBeforeAWindowIsNotRead) {
  const std::vector<int64_t> slots = {0}, past = {20}, lengths = {1};
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double softcap : {0.0, 3.0}) {
    const AttentionRule rule{.window = 5, .softcap = softcap, .slopes = {}};
    for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
      const at::Tensor keys = ruled_noise({1, 2, 24, 16}, 5).to(dtype);
      const at::Tensor values = ruled_noise({1, 2, 24, 16}, 6).to(dtype);
      const at::Tensor query = ruled_noise({1, 4, 16}, 7).to(dtype);
      const CachedLayer layer{.keys = keys, .values = values, .slots = &slots, .past = &past};
      const at::Tensor before = cached_attention(query, layer, lengths, rule);
      for (const at::Tensor& x : {keys, values}) x.narrow(2, 0, 16).fill_(nan);
      EXPECT_TRUE(testing::same_bits(cached_attention(query, layer, lengths, rule), before));
      keys.narrow(2, 16, 1).fill_(nan);
      EXPECT_TRUE(cached_attention(query, layer, lengths, rule).isnan().all().item<bool>());
    }
  }
}

}  // namespace
}  // namespace leash

// Rules on a device that is not the CPU: packed, and one row of each sequence behind a cache.
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <limits>

#include "models/attention/attention.h"
#include "models/random/random.h"
#include "tests/support/pretend_device.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using testing::all_close;
using testing::pretend_device;

at::Tensor device_noise(at::IntArrayRef shape, uint64_t index) {
  return normal_tensor(DrawKey{16, Purpose::noise, index}, shape, 0, 1);
}

std::vector<AttentionRule> some_rules() {
  AttentionRule alibi, rounded;
  alibi.slopes = at::tensor({0.5f, 0.25f, 0.125f, 0.3f});
  rounded.slopes = alibi.slopes;
  rounded.bfloat16_bias = true;
  return {{.scale = 0.3, .slopes = {}},
          {.window = 5, .slopes = {}},
          {.scale = 0.2, .window = 7, .softcap = 0.9, .slopes = {}},
          alibi,
          rounded};
}

AttentionRule moved_rule(AttentionRule rule) {
  if (rule.slopes.defined()) rule.slopes = rule.slopes.to(pretend_device());
  return rule;
}

TEST(RuledDevice, PackedIsTheCpus) {
  const HeadShape shape{.num_heads = 4, .num_kv_heads = 2, .head_dim = 8};
  const std::vector<int64_t> lengths = {9, 4, 6}, prefixes = {-1, 0, -1};
  const at::Tensor positions =
      at::tensor({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 1, 2, 3, 4, 5}, at::kLong);
  const RopeTable table = rope_table({.theta = 100, .rotary_dim = 4}, 16);
  const RopeTable table_there{.cosines = table.cosines.to(pretend_device()),
                              .sines = table.sines.to(pretend_device())};
  const at::Tensor dy = device_noise({19, 32}, 2);
  for (const bool rotates : {true, false}) {
    for (const AttentionRule& rule : some_rules()) {
      const at::Tensor a = device_noise({19, 64}, 1).requires_grad_(true);
      const at::Tensor b = a.detach().to(pretend_device()).requires_grad_(true);
      const at::Tensor here = packed_self_attention(a, positions, rotates ? table : RopeTable{},
                                                    shape, lengths, prefixes, {}, rule);
      const at::Tensor far = packed_self_attention(b, positions.to(pretend_device()),
                                                   rotates ? table_there : RopeTable{}, shape,
                                                   lengths, prefixes, {}, moved_rule(rule));
      EXPECT_TRUE(all_close(far.detach().to(at::kCPU), here.detach(), 0, 1e-5));
      EXPECT_TRUE(
          all_close(torch::autograd::grad({far}, {b}, {dy.to(pretend_device())})[0].to(at::kCPU),
                    torch::autograd::grad({here}, {a}, {dy})[0], 0, 5e-5));
    }
  }
}

TEST(RuledDevice, CachedRowsAreTheCpus) {
  const std::vector<int64_t> slots = {2, 0}, past = {3, 14};
  const at::Tensor keys = device_noise({3, 2, 20, 8}, 3), values = device_noise({3, 2, 20, 8}, 4);
  const at::Tensor past_index = at::tensor(past, at::kLong);
  const at::Tensor hidden = at::arange(15, at::kLong).unsqueeze(0).gt(past_index.unsqueeze(1));
  const at::Tensor visible = at::full({2, 15}, 0.0, at::kFloat)
                                 .masked_fill(hidden, -std::numeric_limits<double>::infinity());
  const CachedLayer here{.keys = keys, .values = values, .slots = &slots, .past = &past};
  CachedLayer far = here;
  far.keys = keys.to(pretend_device());
  far.values = values.to(pretend_device());
  far.slot_index = at::tensor(slots, at::kLong).to(pretend_device());
  far.past_index = past_index.to(pretend_device());
  far.visible = visible.to(pretend_device());
  for (const AttentionRule& rule : some_rules()) {
    for (const std::vector<int64_t>& lengths :
         {std::vector<int64_t>{1, 1}, std::vector<int64_t>{4, 1}}) {
      const at::Tensor query = device_noise({lengths[0] + lengths[1], 4, 8}, 5);
      EXPECT_TRUE(all_close(
          cached_attention(query.to(pretend_device()), far, lengths, moved_rule(rule)).to(at::kCPU),
          cached_attention(query, here, lengths, rule), 0, 1e-5));
    }
  }
}

}  // namespace
}  // namespace leash

// What the fused kernels of a GPU are told about a packed batch, through the plain version that
// reads the same plan.
#include "models/attention/varlen_attention.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/attention/attention.h"
#include "models/random/random.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using testing::all_close;
using testing::same_bits;

at::Tensor wide_noise(at::IntArrayRef shape, uint64_t index) {
  return normal_tensor(DrawKey{12, Purpose::noise, index}, shape, 0, 1).to(at::kDouble);
}

TEST(VarlenAttention, ThePlanOfSequencesEndToEnd) {
  const VarlenPlan plan = varlen_plan({3, 1, 4}, {}, at::kCPU);
  const at::Tensor starts = at::tensor({0, 3, 4, 8}, at::kInt);
  EXPECT_TRUE(same_bits(plan.query_starts, starts));
  EXPECT_TRUE(same_bits(plan.key_starts, starts));
  EXPECT_FALSE(plan.key_rows.defined());
  EXPECT_EQ(plan.longest_query, 4);
  EXPECT_EQ(plan.longest_key, 4);
}

TEST(VarlenAttention, ThePlanOfSequencesThatContinueAnother) {
  const VarlenPlan plan = varlen_plan({3, 1, 2, 2}, {-1, 0, -1, 0}, at::kCPU);
  EXPECT_TRUE(same_bits(plan.query_starts, at::tensor({0, 3, 4, 6, 8}, at::kInt)));
  EXPECT_TRUE(same_bits(plan.key_starts, at::tensor({0, 3, 7, 9, 14}, at::kInt)));
  EXPECT_TRUE(
      same_bits(plan.key_rows, at::tensor({0, 1, 2, 0, 1, 2, 3, 4, 5, 0, 1, 2, 6, 7}, at::kLong)));
  EXPECT_EQ(plan.longest_query, 3);
  EXPECT_EQ(plan.longest_key, 5);
}

TEST(VarlenAttention, EqualsAttentionSequenceBySequence) {
  const std::vector<int64_t> lengths = {5, 1, 3, 7};
  for (const std::vector<int64_t>& prefixes :
       {std::vector<int64_t>{}, std::vector<int64_t>{-1, 0, 0, -1}}) {
    std::vector<at::Tensor> inputs = {wide_noise({16, 4, 8}, 1), wide_noise({16, 2, 8}, 2),
                                      wide_noise({16, 2, 8}, 3)};
    for (at::Tensor& input : inputs) input.requires_grad_(true);
    const VarlenPlan plan = varlen_plan(lengths, prefixes, at::kCPU);
    const at::Tensor ours = varlen_attention(inputs[0], inputs[1], inputs[2], plan);
    const at::Tensor expected =
        packed_attention(inputs[0], inputs[1], inputs[2], lengths, prefixes);
    EXPECT_TRUE(all_close(ours, expected, 1e-12, 1e-12));
    const at::Tensor weights = wide_noise(expected.sizes(), 4);
    const auto a = torch::autograd::grad({ours.mul(weights).sum()}, inputs);
    const auto b = torch::autograd::grad({expected.mul(weights).sum()}, inputs);
    for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(all_close(a[i], b[i], 1e-11, 1e-12));
  }
}

}  // namespace
}  // namespace leash

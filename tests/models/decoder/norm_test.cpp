// Root-mean-square norms whose weight is wider than their input.
#include "models/decoder/norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/random/random.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using testing::same_bits;

// 1.003 is 1 in bfloat16: a weight of fp32 (over a quantised base, or a trained copy) counts as it
// is.
TEST(RmsNorm, AWiderWeightKeepsItsPrecision) {
  const at::Tensor x = normal_tensor({1, Purpose::noise}, {6, 32}, 0, 40).to(at::kBFloat16);
  at::Tensor weight = at::full({32}, 1.003);
  const at::Tensor plain = rms_norm(x, at::full({32}, 1.0).to(at::kBFloat16), 1e-5);
  const at::Tensor expected = plain.to(at::kFloat).mul(1.003).to(at::kBFloat16);
  EXPECT_TRUE(same_bits(rms_norm(x, weight, 1e-5), expected));
  EXPECT_FALSE(plain.equal(expected));
  weight.set_requires_grad(true);
  const at::Tensor gradient =
      torch::autograd::grad({rms_norm(x, weight, 1e-5).to(at::kFloat).sum()}, {weight})[0];
  EXPECT_EQ(gradient.scalar_type(), at::kFloat);
  EXPECT_TRUE(testing::all_close(gradient, plain.to(at::kFloat).sum(0), 1e-2, 1e-2));
}

}  // namespace
}  // namespace leash

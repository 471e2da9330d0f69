// The arithmetic of the rotation's kernel against LibTorch's operators.
#include "models/attention/rope_rotation.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/randint.h>
#include <gtest/gtest.h>

#include "models/attention/rope.h"
#include "models/random/random.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

at::Tensor by_entries(const at::Tensor& x, const at::Tensor& positions, const RopeTable& table,
                      float sign) {
  const at::Tensor y = at::empty_like(x);
  const int64_t heads = x.size(1), size = x.size(2), half = table.cosines.size(1);
  for (int64_t row = 0; row < x.size(0); ++row) {
    const int64_t angles = positions.const_data_ptr<int64_t>()[row] * half;
    for (int64_t head = 0; head < heads; ++head) {
      const int64_t offset = (row * heads + head) * size;
      for (int64_t i = 0; i < size; ++i) {
        y.mutable_data_ptr<float>()[offset + i] = rotated_entry(
            x.const_data_ptr<float>() + offset, table.cosines.const_data_ptr<float>() + angles,
            table.sines.const_data_ptr<float>() + angles, sign, half, i);
      }
    }
  }
  return y;
}

TEST(RopeRotation, IsTheOperatorsAndTurnsBack) {
  for (const int64_t rotary : {16, 12}) {
    const RopeTable table = rope_table({.theta = 10000, .rotary_dim = rotary}, 64);
    const at::Tensor x = normal_tensor(DrawKey{3, Purpose::noise}, {9, 2, 16}, 0, 1);
    const at::Tensor positions = at::randint(64, {9}, at::kLong);
    const at::Tensor y = by_entries(x, positions, table, 1.0f);
    EXPECT_TRUE(testing::all_close(y, rotate_plain(x, positions, table), 0, 1e-6));
    EXPECT_TRUE(testing::all_close(by_entries(y, positions, table, -1.0f), x, 0, 1e-6));
  }
}

}  // namespace
}  // namespace leash

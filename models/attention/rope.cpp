#include "models/attention/rope.h"

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <bit>

#include "models/attention/rope_frequencies.h"
#include "models/kernels/kernels.h"
#include "models/kernels/node.h"

#ifdef LEASH_CUDA
#include "models/attention/rope_cuda.h"
#endif

namespace leash {
namespace {

constexpr int64_t kFirstPositions = 2048;

at::Tensor rotate_rows(const at::Tensor& x, const at::Tensor& positions, const RopeTable& table,
                       float sign) {
  const at::Tensor input = x.contiguous();
  at::Tensor y = at::empty(input.sizes(), input.options());
  const int64_t heads = input.size(1);
  const int64_t n = input.size(2);
  const int64_t half = table.cosines.size(1);
  const float* px = input.const_data_ptr<float>();
  const float* pc = table.cosines.const_data_ptr<float>();
  const float* ps = table.sines.const_data_ptr<float>();
  const int64_t* pp = positions.const_data_ptr<int64_t>();
  float* py = y.mutable_data_ptr<float>();
  RECORD_USER_SCOPE("leash::rotate");
  at::parallel_for(0, input.size(0), /*grain_size=*/64, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t head = 0; head < heads; ++head) {
        const int64_t offset = (row * heads + head) * n;
        kernels::rotate_head(px + offset, pc + pp[row] * half, ps + pp[row] * half, sign,
                             py + offset, half, n);
      }
    }
  });
  return y;
}

}  // namespace

RopeTable rope_table(const RopeConfig& config, int64_t max_positions) {
  const auto options = at::TensorOptions().dtype(at::kFloat);
  const at::Tensor angles =
      at::arange(max_positions, options).unsqueeze(1).mul(rope_frequencies(config).unsqueeze(0));
  RopeTable table{.cosines = angles.cos(), .sines = angles.sin()};
  if (config.attention_factor != 1.0) {
    table.cosines.mul_(config.attention_factor);
    table.sines.mul_(config.attention_factor);
  }
  return table;
}

void GrowingRopeTable::cover(int64_t positions) const {
  TORCH_CHECK(positions <= max_positions_, "rope: ", positions, " positions, at most ",
              max_positions_);
  const std::lock_guard lock(mutex_);
  if (table_.cosines.defined() && table_.cosines.size(0) >= positions) return;
  // On another device the whole table at once: a table that is replaced may still be read by work
  // that other streams have queued.
  const auto rows = device_.is_cpu()
                        ? std::bit_ceil(static_cast<uint64_t>(std::max(positions, kFirstPositions)))
                        : static_cast<uint64_t>(max_positions_);
  table_ = rope_table(config_, std::min(static_cast<int64_t>(rows), max_positions_));
  table_ = {.cosines = table_.cosines.to(device_), .sines = table_.sines.to(device_)};
}

RopeTable GrowingRopeTable::table() const {
  const std::lock_guard lock(mutex_);
  return table_;
}

at::Tensor rotate_plain(const at::Tensor& x, const at::Tensor& positions, const RopeTable& table) {
  if (!table.rotates()) return x;
  const int64_t half = table.cosines.size(1);
  const auto wide = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor cosines = table.cosines.index_select(0, positions).unsqueeze(1).to(wide);
  const at::Tensor sines = table.sines.index_select(0, positions).unsqueeze(1).to(wide);
  const at::Tensor h = x.to(wide);
  const at::Tensor low = h.narrow(2, 0, half);
  const at::Tensor high = h.narrow(2, half, half);
  const at::Tensor rest = h.narrow(2, 2 * half, h.size(2) - 2 * half);
  return at::cat(
             {low.mul(cosines).sub(high.mul(sines)), high.mul(cosines).add(low.mul(sines)), rest},
             2)
      .to(x.scalar_type());
}

at::Tensor rotate(const at::Tensor& x, const at::Tensor& positions, const RopeTable& table) {
  if (!table.rotates()) return x;
  auto kernel = &rotate_rows;
  bool fits = x.is_cpu() && x.scalar_type() == at::kFloat;
#ifdef LEASH_CUDA
  if (x.is_cuda()) {
    kernel = &cuda::rotate;
    fits = x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16;
  }
#endif
  if (!fits) return rotate_plain(x, positions, table);
  const at::Tensor y = kernel(x.detach(), positions, table, 1.0f);
  if (!differentiable({x})) return y;
  return with_backward(y, {x}, "RotateBackward", [positions, table, kernel](const at::Tensor& dy) {
    return torch::autograd::variable_list{kernel(dy, positions, table, -1.0f)};
  });
}

QueryKeyValue split_and_rotate(const at::Tensor& qkv, const at::Tensor& positions,
                               const RopeTable& table, int64_t num_heads, int64_t num_kv_heads,
                               int64_t head_dim) {
  const int64_t tokens = qkv.size(0);
  const int64_t queries = num_heads * head_dim;
  const int64_t keys = num_kv_heads * head_dim;
  if (!qkv.is_cpu()) {  // the fewer calls the better: queries and keys in one
    const at::Tensor both =
        rotate(qkv.narrow(1, 0, queries + keys).unflatten(1, {num_heads + num_kv_heads, head_dim}),
               positions, table);
    return {.query = both.narrow(1, 0, num_heads),
            .key = both.narrow(1, num_heads, num_kv_heads),
            .value = qkv.narrow(1, queries + keys, keys).unflatten(1, {num_kv_heads, head_dim})};
  }
  const at::Tensor query = qkv.narrow(1, 0, queries).reshape({tokens, num_heads, head_dim});
  const at::Tensor key = qkv.narrow(1, queries, keys).reshape({tokens, num_kv_heads, head_dim});
  const at::Tensor value =
      qkv.narrow(1, queries + keys, keys).reshape({tokens, num_kv_heads, head_dim});
  return {.query = rotate(query, positions, table),
          .key = rotate(key, positions, table),
          .value = value};
}

}  // namespace leash

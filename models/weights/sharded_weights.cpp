#include "models/weights/sharded_weights.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <utility>

#include "models/weights/packed_weight.h"

namespace leash {
namespace {

constexpr int64_t kAlignment = 64;  // bytes: what allocators give, and products like

int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

class ShardedWeight final : public WeightSource {
 public:
  // Elements [offset, offset + size) of a unit: rows end to end, or panels.
  struct Place {
    int64_t unit = 0;
    int64_t offset = 0;
    int64_t size = 0;
    int64_t out_features = 0, in_features = 0;
    bool packed = false;
  };
  ShardedWeight(std::shared_ptr<GatherQueue> gathers, const Place& place, int64_t bytes)
      : gathers_(std::move(gathers)), place_(place), bytes_(bytes) {}

  int64_t in_features() const override { return place_.in_features; }
  int64_t out_features() const override { return place_.out_features; }
  at::Tensor multiply(const at::Tensor& x) const override { return whole()->multiply(x); }
  at::Tensor multiply_transposed(const at::Tensor& dy) const override {
    return whole()->multiply_transposed(dy);
  }
  at::Tensor dense() const override { return whole()->dense(); }
  at::Tensor rows(const at::Tensor& ids) const override { return whole()->rows(ids); }
  int64_t bytes() const override { return bytes_; }

 private:
  std::shared_ptr<const WeightSource> whole() const {
    const at::Tensor numbers = gathers_->acquire(place_.unit).narrow(0, place_.offset, place_.size);
    if (place_.packed) return packed_weight(numbers, place_.out_features, place_.in_features);
    return unpacked_weight(numbers.view({place_.out_features, place_.in_features}));
  }

  std::shared_ptr<GatherQueue> gathers_;
  Place place_;
  int64_t bytes_;
};

}  // namespace

std::vector<std::shared_ptr<const WeightSource>> shard(
    const std::shared_ptr<GatherQueue>& gathers,
    const std::vector<std::shared_ptr<const WeightSource>>& matrices, c10::Device device) {
  const c10::AutoGradMode no_grad(false);
  // Panels are for CPUs.
  const auto panels = [&](const WeightSource& matrix) {
    return device.is_cpu() ? packed_panels(matrix) : at::Tensor();
  };
  std::vector<at::Tensor> rows;
  std::vector<int64_t> offsets;
  int64_t end = 0;
  for (const auto& matrix : matrices) {
    const at::Tensor packed = panels(*matrix);
    rows.push_back(packed.defined() ? packed : matrix->dense().reshape({-1}));
    TORCH_CHECK(rows.back().scalar_type() == rows[0].scalar_type(),
                "the matrices of a unit have one dtype");
    end = round_up(end, kAlignment / rows[0].element_size());
    offsets.push_back(end);
    end += rows.back().numel();
  }
  const int64_t part =
      round_up((end + gathers->size() - 1) / gathers->size(), kAlignment / rows[0].element_size());
  const int64_t begin = part * gathers->rank();
  at::Tensor own = at::zeros({part}, rows[0].options());
  for (size_t i = 0; i < rows.size(); ++i) {
    const int64_t from = std::max(begin, offsets[i]);
    const int64_t count = std::min(begin + part, offsets[i] + rows[i].numel()) - from;
    if (count > 0) {
      own.narrow(0, from - begin, count).copy_(rows[i].narrow(0, from - offsets[i], count));
    }
  }
  const auto bytes = static_cast<int64_t>(own.nbytes());
  const int64_t unit = gathers->add(own.to(device));
  std::vector<std::shared_ptr<const WeightSource>> sharded;
  for (size_t i = 0; i < matrices.size(); ++i) {
    sharded.push_back(std::make_shared<ShardedWeight>(
        gathers,
        ShardedWeight::Place{.unit = unit,
                             .offset = offsets[i],
                             .size = rows[i].numel(),
                             .out_features = matrices[i]->out_features(),
                             .in_features = matrices[i]->in_features(),
                             .packed = panels(*matrices[i]).defined()},
        i == 0 ? bytes : 0));
  }
  return sharded;
}

}  // namespace leash

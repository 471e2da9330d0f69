#include "rl/optim/saved_state.h"

#include <ATen/ops/isfinite.h>
#include <fmt/format.h>

#include "models/errors.h"

namespace leash {

SavedState::SavedState(const OptimizerState& state, size_t num_tensors)
    : tensors_(state.begin(), state.end()) {
  if (tensors_.size() != num_tensors || state.size() != num_tensors) {
    throw FormatError(fmt::format("optimizer state holds {} tensors; this optimizer needs {}",
                                  state.size(), num_tensors));
  }
}

const at::Tensor& SavedState::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) throw FormatError("optimizer state has no tensor " + name);
  return found->second;
}

at::Tensor SavedState::take(const std::string& name, const at::Tensor& like) const {
  const at::Tensor& saved = find(name);
  if (saved.sizes() != like.sizes() || saved.scalar_type() != like.scalar_type()) {
    throw FormatError("optimizer state: " + name + " has another shape or type than its parameter");
  }
  if (saved.is_floating_point() && !at::isfinite(saved).all().item<bool>()) {
    throw FormatError("optimizer state: " + name + " holds a number that is not finite");
  }
  return saved.to(like.options(), /*non_blocking=*/false, /*copy=*/true);
}

at::Tensor SavedState::take_nonnegative(const std::string& name, const at::Tensor& like) const {
  const at::Tensor copy = take(name, like);
  if (copy.lt(0).any().item<bool>()) {
    throw FormatError("optimizer state: " + name + " holds a negative number");
  }
  return copy;
}

int64_t SavedState::take_step(const std::string& name) const {
  const at::Tensor& saved = find(name);
  if (saved.dim() != 0 || saved.scalar_type() != at::kLong) {
    throw FormatError("optimizer state: " + name + " is not a 64-bit integer");
  }
  const auto count = saved.item<int64_t>();
  if (count < 0 || count > int64_t{1} << 53) {
    throw FormatError(fmt::format("optimizer state: {} is {}, no count of updates", name, count));
  }
  return count;
}

}  // namespace leash

#include "models/decoder/heads.h"

#include <ATen/ops/linear.h>
#include <ATen/ops/zeros.h>

#include "models/errors.h"

namespace leash {

LinearHead LinearHead::zeros(int64_t hidden_size, int64_t outputs) {
  return {.weight = at::zeros({outputs, hidden_size}, at::kFloat)};
}

LinearHead LinearHead::load(const Checkpoint& checkpoint) {
  if (!checkpoint.tensors->contains("score.weight")) {
    throw FormatError(
        checkpoint.path.string() +
        ": has no tensor score.weight; a reward model is a *ForSequenceClassification checkpoint");
  }
  const at::Tensor weight = checkpoint.tensors->read("score.weight", at::kFloat).clone();
  if (weight.dim() != 2 || weight.size(1) != checkpoint.config.hidden_size) {
    throw FormatError(checkpoint.path.string() + ": score.weight does not fit the hidden size");
  }
  return {.weight = weight};
}

LinearHead LinearHead::to(at::Device device) const { return {.weight = weight.to(device)}; }

at::Tensor LinearHead::operator()(const at::Tensor& hidden) const {
  return at::linear(hidden.to(weight.scalar_type()), weight);
}

}  // namespace leash

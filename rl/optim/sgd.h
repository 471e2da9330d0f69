// Stochastic gradient descent without momentum, as torch.optim.SGD computes it.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "rl/optim/saved_state.h"

namespace leash {

struct SgdConfig {
  double weight_decay = 0.0;  // added to the gradient (an L2 penalty), unlike AdamW's
};

class Sgd {
 public:
  Sgd(std::vector<at::Tensor> parameters, const SgdConfig& config);
  // p -= learning_rate (gradient + weight_decay p); a parameter without a gradient is left alone.
  void step(double learning_rate);
  void zero_grad();
  const std::vector<at::Tensor>& parameters() const { return parameters_; }

  // There is nothing to save: an empty list, and FormatError for any other.
  OptimizerState state() const { return {}; }
  void load_state(const OptimizerState& state) { const SavedState empty(state, 0); }

 private:
  std::vector<at::Tensor> parameters_;
  SgdConfig config_;
};

}  // namespace leash

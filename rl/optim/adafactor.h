// Adafactor (Shazeer & Stern 2018, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost")
// as transformers' Adafactor computes it with scale_parameter and relative_step off and no first
// moment, which is what `optim: adafactor` means there.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "rl/optim/saved_state.h"

namespace leash {

struct AdafactorConfig {
  double epsilon = 1e-30;       // added to squared gradients (ε1)
  double clip_threshold = 1.0;  // the root mean square that an update is scaled down to (d)
  double decay_rate = -0.8;     // β2 of update t is 1 - t^decay_rate
  double weight_decay = 0.0;    // decoupled: p -= weight_decay learning_rate p, before the update
};

class Adafactor {
 public:
  Adafactor(std::vector<at::Tensor> parameters, const AdafactorConfig& config);
  // One update; a parameter without a gradient is left alone, its step count included. bf16 and
  // fp16 are computed in float32.
  void step(double learning_rate);
  void zero_grad();
  const std::vector<at::Tensor>& parameters() const { return parameters_; }

  // "0.exp_avg_sq_row" and "0.exp_avg_sq_col" of a parameter with at least two dimensions,
  // "0.exp_avg_sq" of another, "0.step", "1.…". They share memory with the optimizer.
  OptimizerState state() const;
  // As AdamW::load_state.
  void load_state(const OptimizerState& state);

 private:
  struct Averages {
    at::Tensor squares{};                 // [..., rows]: means over columns; or like the parameter
    std::optional<at::Tensor> columns{};  // [..., columns]: means over rows; none: not factored
    int64_t num_steps = 0;
  };
  // The gradient divided by the root of its squares' averages (algorithms 1, 2 and 4).
  at::Tensor normalized(const at::Tensor& grad, Averages& averages) const;

  std::vector<at::Tensor> parameters_;
  AdafactorConfig config_;
  std::vector<Averages> averages_;
};

}  // namespace leash

// AdamW (Loshchilov & Hutter 2019) with torch.optim.AdamW's arithmetic, and gradient clipping.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace leash {

struct AdamWConfig {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.0;
};

class AdamW {
 public:
  AdamW(std::vector<at::Tensor> parameters, const AdamWConfig& config);
  // One update with the parameters' gradients; a parameter without a gradient is left alone, its
  // step count included (so that its bias correction is torch's).
  void step(double learning_rate);
  void zero_grad();
  const std::vector<at::Tensor>& parameters() const { return parameters_; }

  // The state to save, under names "0.exp_avg", "0.exp_avg_sq", "0.step", "1.…". The moments share
  // memory with the optimizer: write (or clone) them before the next step.
  std::vector<std::pair<std::string, at::Tensor>> state() const;
  // Copies a saved state, in any order. FormatError, and nothing is changed, when a name, shape or
  // dtype does not fit the parameters.
  void load_state(const std::vector<std::pair<std::string, at::Tensor>>& state);

 private:
  // Parameters that are updated together: so many that a GPU has something to do, so few that what
  // lies between their moments and their update costs little memory; on a CPU so few that a group
  // stays in the cache while one operator after the other goes over it.
  static constexpr int64_t kGroupNumbers = int64_t{4} << 20;
  static constexpr int64_t kHostGroupNumbers = int64_t{512} << 10;
  struct Group {
    int64_t num_numbers = 0;
    std::vector<at::Tensor> parameters, gradients, exp_avg, exp_avg_sq;
    std::vector<at::Scalar> steps, scales;  // of each parameter
  };
  void update(const Group& group, double learning_rate) const;

  std::vector<at::Tensor> parameters_;
  AdamWConfig config_;
  std::vector<at::Tensor> exp_avg_;     // like the parameters
  std::vector<at::Tensor> exp_avg_sq_;  // like the parameters
  std::vector<int64_t> num_steps_;      // updates of each parameter
};

// Scales all gradients by max_norm / (norm + 1e-6) where that is below 1
// (torch.nn.utils.clip_grad_norm_); max_norm 0: only measures. Returns the norm of all gradients
// together before clipping (0 when there are none). A norm that is not finite is returned as it is
// and nothing is scaled: the caller must not apply such a step.
double clip_grad_norm(const std::vector<at::Tensor>& parameters, double max_norm);

}  // namespace leash

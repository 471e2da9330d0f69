// Dynamic loss scaling, without which small gradients are zeros in float16 (Micikevicius et al.
// 2018, "Mixed Precision Training", section 3.2), with the rules and the defaults of
// torch.amp.GradScaler.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace leash {

struct GradScalerConfig {
  double init_scale = 65536.0;     // above 0
  double growth_factor = 2.0;      // above 1
  double backoff_factor = 0.5;     // between 0 and 1
  int64_t growth_interval = 2000;  // at least 1
};

// What of it changes, and is saved.
struct GradScalerState {
  double scale = 0;            // always a float's value
  int64_t growth_tracker = 0;  // updates in a row without an overflow since the scale last changed

  bool operator==(const GradScalerState&) const = default;
};

// A step is: the backward pass of scale() times the loss; unscale(); clip; the optimizer's step
// unless unscale() found an overflow; update(). All ranks that hold equal gradients (their sum) go
// through the same scales.
class GradScaler {
 public:
  explicit GradScaler(const GradScalerConfig& config = {});

  double scale() const { return state_.scale; }
  const GradScalerState& state() const { return state_; }
  // Goes on from a saved state. FormatError, and nothing is changed, when it is none: a scale that
  // is not a positive float, or a negative count.
  void load_state(const GradScalerState& state);

  // Multiplies all gradients, of one device and at least fp32, by 1 / scale(), in place. False when
  // one of them is infinite or NaN: the step must not be applied.
  bool unscale(const std::vector<at::Tensor>& parameters) const;

  // After each step. With an overflow the scale shrinks by backoff_factor; else, after
  // growth_interval updates in a row without one, it grows by growth_factor, unless that would be
  // infinite. Either way the count begins anew.
  void update(bool overflow);

 private:
  GradScalerConfig config_;
  GradScalerState state_;
};

}  // namespace leash

// A training step whose numbers cannot be used.
#pragma once

#include <stdexcept>

namespace leash {

// The loss or a gradient is NaN or infinite; the step that saw it was not applied.
class NonFiniteLoss : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace leash

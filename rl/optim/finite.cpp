#include "rl/optim/finite.h"

#include <c10/core/GradMode.h>

#include <cmath>

namespace leash {

// In double no sum of narrower numbers overflows.
bool all_finite(const std::vector<at::Tensor>& tensors) {
  const c10::AutoGradMode no_grad(false);
  at::Tensor total;
  double elsewhere = 0;  // on other devices than the first
  for (const at::Tensor& tensor : tensors) {
    const at::Tensor sum = tensor.detach().sum(at::kDouble).mul(0.0);
    if (!total.defined()) {
      total = sum;
    } else if (sum.device() == total.device()) {
      total.add_(sum);
    } else {
      elsewhere += sum.item<double>();
    }
  }
  return !total.defined() || std::isfinite(total.item<double>() + elsewhere);
}

}  // namespace leash

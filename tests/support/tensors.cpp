#include "tests/support/tensors.h"

#include <ATen/TensorOperators.h>

#include <cmath>
#include <cstring>

#include "models/random/random.h"

namespace leash::testing {

::testing::AssertionResult all_close(const at::Tensor& actual, const at::Tensor& expected,
                                     double relative, double absolute) {
  if (actual.sizes() != expected.sizes()) {
    return ::testing::AssertionFailure()
           << "shapes " << actual.sizes() << " and " << expected.sizes();
  }
  if (actual.numel() == 0) return ::testing::AssertionSuccess();
  const auto a = actual.detach().to(at::kDouble).contiguous().view({-1});
  const auto b = expected.detach().to(at::kDouble).contiguous().view({-1});
  const auto* pa = a.const_data_ptr<double>();
  const auto* pb = b.const_data_ptr<double>();
  int64_t worst = -1;
  double worst_excess = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    const double excess = std::abs(pa[i] - pb[i]) - (absolute + relative * std::abs(pb[i]));
    // Written so that a NaN on one side fails.
    if (!(excess <= 0) && (worst < 0 || !(excess <= worst_excess))) {
      worst = i;
      worst_excess = excess;
    }
  }
  if (worst < 0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "entry " << worst << " of " << a.numel() << ": "
                                       << pa[worst] << " against " << pb[worst];
}

::testing::AssertionResult same_bits(const at::Tensor& actual, const at::Tensor& expected) {
  if (actual.sizes() != expected.sizes() || actual.scalar_type() != expected.scalar_type()) {
    return ::testing::AssertionFailure() << "different shapes or types";
  }
  const auto a = actual.detach().contiguous();
  const auto b = expected.detach().contiguous();
  if (a.numel() == 0 || std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0)
    return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "bits differ, by up to "
         << (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

at::Tensor noise(at::IntArrayRef shape, uint64_t index) {
  return normal_tensor(DrawKey{11, Purpose::noise, index}, shape, 0, 1);
}

}  // namespace leash::testing

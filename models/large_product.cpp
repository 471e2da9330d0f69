#include "models/large_product.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>
#include <string_view>

namespace leash {
namespace {

constexpr int64_t kFewestRows = 32;

bool able() {
#ifdef __x86_64__
  static const bool avx512 = __builtin_cpu_supports("x86-64-v4");
  return avx512;
#else
  return false;
#endif
}

}  // namespace

bool large_product_fits(const at::Tensor& x, const at::Tensor& weight) {
  return able() && x.size(0) >= kFewestRows && x.scalar_type() == at::kFloat && x.is_cpu() &&
         weight.scalar_type() == at::kFloat;
}

at::Tensor large_product(const at::Tensor& x, const at::Tensor& weight) {
  using Product = at::Tensor(const at::Tensor& x, const at::Tensor& weight,
                             const std::optional<at::Tensor>& bias, std::string_view activation,
                             c10::List<std::optional<at::Scalar>> scalars,
                             std::optional<std::string_view> algorithm);
  static const auto product = c10::Dispatcher::singleton()
                                  .findSchemaOrThrow("mkldnn::_linear_pointwise", "")
                                  .typed<Product>();
  return product.call(x, weight, std::nullopt, "none", c10::List<std::optional<at::Scalar>>(), "");
}

}  // namespace leash

#include "models/device.h"

#include <ATen/Parallel.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <thread>

namespace leash {
namespace {

// GFLOP/s, the best of three.
double product_speed(at::ScalarType dtype) {
  constexpr int64_t kRows = 64, kColumns = 1536, kDepth = 576;
  const c10::AutoGradMode no_grad(false);
  const at::Tensor x = at::ones({kRows, kDepth}, dtype),
                   weight = at::ones({kColumns, kDepth}, dtype);
  double best = std::numeric_limits<double>::infinity();
  for (int attempt = 0; attempt < 3; ++attempt) {
    const auto start = std::chrono::steady_clock::now();
    at::linear(x, weight);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::min(best, seconds.count());
  }
  return 2.0 * kRows * kColumns * kDepth / best / 1e9;
}

}  // namespace

at::ScalarType scalar_type(DtypeChoice choice) {
  switch (choice) {
    case DtypeChoice::automatic:
    case DtypeChoice::float32:
      return at::kFloat;
    case DtypeChoice::bfloat16:
      return at::kBFloat16;
    case DtypeChoice::float64:
      return at::kDouble;
  }
  TORCH_CHECK(false, "unknown dtype");
}

ProductSpeeds measure_products() {
  return {.float32 = product_speed(at::kFloat), .bfloat16 = product_speed(at::kBFloat16)};
}

std::optional<std::string> slow_bfloat16(const ProductSpeeds& speeds) {
  if (speeds.bfloat16 >= speeds.float32) return std::nullopt;
  return fmt::format(
      "model.dtype: bfloat16 is the slower type on this machine: a small product just reached "
      "{:.1f} "
      "GFLOP/s in it and {:.1f} in float32; it only saves memory here",
      speeds.bfloat16, speeds.float32);
}

int64_t set_threads(int64_t threads) {
  const int64_t wanted = threads > 0 ? threads : std::max(1u, std::thread::hardware_concurrency());
  at::set_num_threads(static_cast<int>(wanted));
  return wanted;
}

}  // namespace leash

#include "models/device/device.h"

#include <ATen/Parallel.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <c10/core/DeviceType.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <thread>

#include "models/errors.h"

#ifdef LEASH_CUDA
#include <c10/cuda/CUDAFunctions.h>
#endif

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
    // bfloat16 as it is multiplied without AVX512-BF16: rounded, and in float32.
    if (dtype == at::kBFloat16) {
      at::linear(x.to(at::kFloat), weight.to(at::kFloat));
    } else {
      at::linear(x, weight);
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::min(best, seconds.count());
  }
  return 2.0 * kRows * kColumns * kDepth / best / 1e9;
}

}  // namespace

at::Device parse_device(std::string_view name, std::string_view setting,
                        const std::function<c10::DeviceIndex()>& unnumbered) {
  std::optional<at::Device> device;
  try {
    device = at::Device(std::string(name));
  } catch (const c10::Error&) {  // said below
  }
  if (device && device->is_cpu()) return at::kCPU;
  if (device && (device->is_cuda() || device->is_privateuseone())) {
    if (!device->has_index()) device->set_index(unnumbered ? unnumbered() : c10::DeviceIndex{0});
    return *device;
  }
  throw ConfigError(
      fmt::format("{}: `{}` is no device: cpu, cuda, or cuda:1 for the second GPU", setting, name));
}

std::optional<std::string> device_problem(at::Device device) {
  if (device.is_cpu()) return std::nullopt;
  if (device.is_privateuseone()) {  // what a test registered
    if (c10::is_privateuse1_backend_registered()) return std::nullopt;
    return fmt::format("this build knows no device {}", device.str());
  }
#ifdef LEASH_CUDA
  const int count = c10::cuda::device_count();
  if (device.index() < count) return std::nullopt;
  if (count == 0) {
    return fmt::format(
        "{}: there is no GPU here that CUDA can use (`nvidia-smi` shows what the "
        "driver sees); take cpu",
        device.str());
  }
  return fmt::format("{}: there is no such GPU, only {} (cuda:0 to cuda:{})", device.str(), count,
                     count - 1);
#else
  return fmt::format(
      "{} needs a build with CUDA, and this is the CPU build: `make cuda`, or take "
      "cpu",
      device.str());
#endif
}

at::Tensor on_device(const at::Tensor& tensor, at::Device device) {
  if (tensor.device() == device) return tensor;
  if (tensor.is_cpu() && device.is_cuda()) {
    return tensor.pin_memory().to(device, /*non_blocking=*/true);
  }
  return tensor.to(device);
}

at::ScalarType scalar_type(DtypeChoice choice, at::Device device) {
  switch (choice) {
    case DtypeChoice::automatic:
      return device.is_cuda() ? at::kBFloat16 : at::kFloat;
    case DtypeChoice::float32:
      return at::kFloat;
    case DtypeChoice::bfloat16:
      return at::kBFloat16;
    case DtypeChoice::float16:
      return at::kHalf;
    case DtypeChoice::float64:
      return at::kDouble;
  }
  TORCH_CHECK(false, "unknown dtype");
}

at::ScalarType activation_type(at::ScalarType weights, at::Device device) {
  return weights == at::kBFloat16 && device.is_cpu() ? at::kFloat : weights;
}

bool is_narrow(DtypeChoice choice) {
  return choice == DtypeChoice::bfloat16 || choice == DtypeChoice::float16;
}

ProductSpeeds measure_products(DtypeChoice narrow) {
  TORCH_CHECK(is_narrow(narrow), "no narrow type: ", enum_name(narrow));
  return {.float32 = product_speed(at::kFloat), .narrow = product_speed(scalar_type(narrow))};
}

std::optional<std::string> slow_dtype(DtypeChoice narrow, const ProductSpeeds& speeds) {
  if (speeds.narrow >= speeds.float32) return std::nullopt;
  return fmt::format(
      "model.dtype: {} is the slower type on this machine: a small product just reached {:.1f} "
      "GFLOP/s in it and {:.1f} in float32; it only saves memory here",
      enum_name(narrow), speeds.narrow, speeds.float32);
}

int64_t usable_cores() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  // More cores than the mask has room for: all of them.
  if (sched_getaffinity(0, sizeof(mask), &mask) != 0) {
    return std::max(1u, std::thread::hardware_concurrency());
  }
  return std::max(1, CPU_COUNT(&mask));
}

int64_t set_threads(int64_t threads) {
  const int64_t wanted = threads > 0 ? threads : usable_cores();
  // In a thread of its own, ATen's first look at the number (each of its two copies has one) would
  // take what some other thread set last.
  (void)at::get_num_threads();
  at::internal::lazy_init_num_threads();
  at::set_num_threads(static_cast<int>(wanted));
  return wanted;
}

}  // namespace leash

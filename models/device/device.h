// Devices, types and threads of this machine.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "models/families/model_config.h"

namespace leash {

// The device that a setting names: cpu, cuda, cuda:1. Only what the name says; a GPU without a
// number gets `unnumbered` (none: 0), so that two names of one device are equal. ConfigError,
// beginning with `setting`, where it is no name of a device.
at::Device parse_device(std::string_view name, std::string_view setting,
                        const std::function<c10::DeviceIndex()>& unnumbered = {});

// Why tensors cannot be put on a device here (a CPU build, fewer GPUs, no driver), and what to do
// about it; nullopt where they can.
std::optional<std::string> device_problem(at::Device device);

// The type that weights get; `auto` is float32 on a CPU and bfloat16 on a GPU.
at::ScalarType scalar_type(DtypeChoice choice, at::Device device = at::kCPU);

// The type of what is computed with such weights (hidden states, keys and values): theirs, but
// float32 with bfloat16 on a CPU, where products round their left factor when they read it and give
// float32.
at::ScalarType activation_type(at::ScalarType weights, at::Device device);

// The tensor itself where it is on `device` already, else a copy there. What goes from the host to
// a GPU passes through page-locked memory without waiting for the device.
at::Tensor on_device(const at::Tensor& tensor, at::Device device);

// bfloat16 and float16: half the bytes of float32.
bool is_narrow(DtypeChoice choice);

// What a product of 64 x 576 by 576 x 1536 reaches here, in GFLOP/s: the best of three, with the
// threads in effect. Takes a few milliseconds, or half a second where the narrow type is emulated.
struct ProductSpeeds {
  double float32 = 0;
  double narrow = 0;
};
ProductSpeeds measure_products(DtypeChoice narrow);

// A hint for the user who asked for a narrow type where it is the slower one; else nothing.
std::optional<std::string> slow_dtype(DtypeChoice narrow, const ProductSpeeds& speeds);

// Cores that this process may run on.
int64_t usable_cores();

// Threads of one operation on the calling thread; 0: usable_cores(). Returns the number in effect.
int64_t set_threads(int64_t threads);

}  // namespace leash

#include "rl/optim/paged_memory.h"

#include <ATen/ops/zeros.h>

#ifdef LEASH_CUDA
#include <ATen/ops/from_blob.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#endif

namespace leash {
namespace {

at::Tensor plain_zeros(at::IntArrayRef shape, at::ScalarType dtype, at::Device device) {
  return at::zeros(shape, at::TensorOptions(dtype).device(device));
}

}  // namespace

#ifdef LEASH_CUDA

bool can_page(at::Device device) { return device.is_cuda(); }

at::Tensor paged_zeros(at::IntArrayRef shape, at::ScalarType dtype, at::Device device) {
  int64_t bytes = static_cast<int64_t>(c10::elementSize(dtype));
  for (const int64_t size : shape) bytes *= size;
  if (!can_page(device) || bytes == 0) return plain_zeros(shape, dtype, device);
  const c10::cuda::CUDAGuard guard(device);
  void* memory = nullptr;
  C10_CUDA_CHECK(cudaMallocManaged(&memory, static_cast<size_t>(bytes)));
  // Kernels that still use it come first; what fails here fails at the process's end.
  const auto free = [](void* pages) {
    (void)cudaDeviceSynchronize();
    (void)cudaFree(pages);
  };
  return at::from_blob(memory, shape, free, at::TensorOptions(dtype).device(device), device)
      .zero_();
}

void prefetch_pages(const at::Tensor& tensor) {
  if (!can_page(tensor.device())) return;
  int can = 0;  // not on Windows, not on old devices
  C10_CUDA_CHECK(
      cudaDeviceGetAttribute(&can, cudaDevAttrConcurrentManagedAccess, tensor.device().index()));
  if (can == 0) return;
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream(tensor.device().index());
#if CUDART_VERSION >= 13000
  cudaMemLocation here = {};
  here.type = cudaMemLocationTypeDevice;
  here.id = tensor.device().index();
  C10_CUDA_CHECK(cudaMemPrefetchAsync(tensor.const_data_ptr(), tensor.nbytes(), here, 0, stream));
#else
  C10_CUDA_CHECK(cudaMemPrefetchAsync(tensor.const_data_ptr(), tensor.nbytes(),
                                      tensor.device().index(), stream));
#endif
}

#else

bool can_page(at::Device) { return false; }

at::Tensor paged_zeros(at::IntArrayRef shape, at::ScalarType dtype, at::Device device) {
  return plain_zeros(shape, dtype, device);
}

void prefetch_pages(const at::Tensor&) {}

#endif

}  // namespace leash

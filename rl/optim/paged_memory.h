// Memory of which the driver moves pages between a GPU and the host when the GPU's is short: CUDA's
// managed memory, where bitsandbytes keeps the states of its paged optimizers. In builds without
// CUDA, and for tensors on a CPU, plain memory. Compiled against CUDA 13, never run on a GPU.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace leash {

// Smaller states are not paged, as in bitsandbytes.
inline constexpr int64_t kMinPagedElements = 100'000;

// Whether paged_zeros on this device gives memory that pages.
bool can_page(at::Device device);

// Zeros whose memory is the driver's to move. Keep the tensor and copy into it: another tensor in
// its place would lie in ordinary memory. c10::Error where there is no memory.
at::Tensor paged_zeros(at::IntArrayRef shape, at::ScalarType dtype, at::Device device);

// Asks for the pages of such a tensor on its device, behind what runs on the current stream;
// nothing where the device cannot do that. A hint: whoever touches a page that is elsewhere gets
// it.
void prefetch_pages(const at::Tensor& tensor);

}  // namespace leash

// A device for tests on machines without a GPU: LibTorch's PrivateUse1 backend over host memory.
//
// What it has in common with a GPU: tensors must be copied to it and back; an operator that gets
// tensors of both sides is refused; its addresses cannot be read by the host, so that a kernel of
// ours that takes the data pointer of such a tensor ends the test with a segmentation fault;
// backward passes run on the autograd engine's thread for the device. Every operator copies its
// arguments to the CPU and its results back, so numbers are the CPU's.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>

namespace leash::testing {

// "pretend:0". The backend is registered with LibTorch (and its name with at::Device) in every
// program that this is linked into.
at::Device pretend_device();

// Memory in use there, and how much there is from now on (0: as much as the host has): a failed
// allocation is the error that LibTorch throws for a GPU's.
int64_t pretend_memory();
void limit_pretend_memory(int64_t bytes);

}  // namespace leash::testing

// For functions that run on the host and on a GPU, so that the arithmetic of a kernel is tested on
// a CPU too. Headers of such functions are C++17, which is what the CUDA compiler is given.
#pragma once

#ifdef __CUDACC__
#define LEASH_HOST_DEVICE __host__ __device__ inline
#else
#define LEASH_HOST_DEVICE inline
#endif

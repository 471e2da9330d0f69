// Launchers of the kernels that decode compressed weights on a GPU. `stream` is a cudaStream_t;
// pointers are of the device that is current. What goes wrong in a launch is cudaGetLastError's.
#pragma once

#include <cstdint>

#include "models/quant/nf4_values.h"
#include "models/weights/block_type.h"

namespace leash::cuda {

// `count` values of blocks that follow each other; `values` and `bytes` are of one block.
void launch_decode_blocks(BlockType type, const uint8_t* blocks, int64_t values, int64_t bytes,
                          int64_t count, float* out, void* stream);

// Values [begin, begin + count).
void launch_decode_nf4(const Nf4Pointers& matrix, int64_t begin, int64_t count, float* out,
                       void* stream);

}  // namespace leash::cuda

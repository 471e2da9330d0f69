// Mutations of a safetensors file that leave its header's length right: a random one hardly ever
// is.
#pragma once

#include <cstddef>
#include <cstdint>

namespace leash::fuzzing {

// As LLVMFuzzerCustomMutator: changes the header's text or what is behind it, or (every fourth
// time, and where the length is wrong already) the file as any other bytes.
size_t mutate_safetensors(uint8_t* data, size_t size, size_t max_size, unsigned seed);

}  // namespace leash::fuzzing

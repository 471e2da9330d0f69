#include "models/device/host_memory.h"

#include <malloc.h>

#include <cstdlib>

namespace leash {

void keep_host_memory() {
  if (std::getenv("GLIBC_TUNABLES") != nullptr) return;
  constexpr int kMappedBytes = 512 << 20;  // larger tensors are mapped each for itself
  constexpr int kNever = 1 << 30;          // free bytes at the heap's end that are given back
  constexpr int kStep = 64 << 20;          // by which the heap grows
  // glibc before 2.35 takes half of a heap at most.
  if (mallopt(M_MMAP_THRESHOLD, kMappedBytes) == 0) mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, kNever);
  mallopt(M_TOP_PAD, kStep);
  // Workers of lanes and of autograd share one heap: others hold no more than 64 MB, and map every
  // tensor that does not fit.
  mallopt(M_ARENA_MAX, 1);
  // LibTorch's own switch, read when the first tensor is made.
  setenv("THP_MEM_ALLOC_ENABLE", "1", /*overwrite=*/0);
}

void return_host_memory() {
  // glibc's own threshold rises with the first block that is freed, and from then on all stay in
  // its heaps: 100 to 160 MB with SmolLM2's blocks of 14 MB.
  constexpr int kMappedBytes = 4 << 20;
  constexpr int kKept = 128 << 10;
  mallopt(M_MMAP_THRESHOLD, kMappedBytes);
  mallopt(M_TRIM_THRESHOLD, kKept);
  mallopt(M_TOP_PAD, kKept);
}

}  // namespace leash

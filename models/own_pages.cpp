#include "models/own_pages.h"

#include <ATen/ops/from_blob.h>
#include <sys/mman.h>

#include <algorithm>
#include <new>

namespace leash {

at::Tensor own_pages(int64_t numel, at::ScalarType dtype) {
  const size_t bytes =
      std::max<size_t>(static_cast<size_t>(numel) * c10::elementSize(dtype), size_t{1});
  void* pages = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  return at::from_blob(
      pages, {numel}, [bytes](void* of) { ::munmap(of, bytes); }, dtype);
}

}  // namespace leash

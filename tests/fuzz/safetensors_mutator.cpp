#include "tests/fuzz/safetensors_mutator.h"

#include <cstring>
#include <string>

// libFuzzer's own mutations.
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace leash::fuzzing {
namespace {

constexpr size_t kLengthBytes = 8;

std::string mutated(std::string bytes, size_t room) {
  const size_t size = bytes.size();
  if (size + room == 0) return bytes;  // libFuzzer wants a byte of room at least
  bytes.resize(size + room);
  bytes.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(bytes.data()), size, bytes.size()));
  return bytes;
}

}  // namespace

size_t mutate_safetensors(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  uint64_t length = 0;
  if (size > kLengthBytes) std::memcpy(&length, data, kLengthBytes);
  if (size <= kLengthBytes || length > size - kLengthBytes || seed % 4 == 0) {
    return LLVMFuzzerMutate(data, size, max_size);
  }
  const char* text = reinterpret_cast<const char*>(data) + kLengthBytes;
  std::string header(text, length), tensors(text + length, size - kLengthBytes - length);
  const size_t room = max_size - size;
  (seed % 4 == 1 ? tensors : header) = mutated(seed % 4 == 1 ? tensors : header, room);
  length = header.size();
  std::memcpy(data, &length, kLengthBytes);
  std::memcpy(data + kLengthBytes, header.data(), header.size());
  std::memcpy(data + kLengthBytes + header.size(), tensors.data(), tensors.size());
  return kLengthBytes + header.size() + tensors.size();
}

}  // namespace leash::fuzzing

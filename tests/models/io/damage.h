// Bytes put together by hand, for tests of readers (format_error is in tiny.h).
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "tests/models/tokenizer/tiny.h"
#include "tests/support/files.h"

namespace leash::testing {

// The little-endian bytes of a number.
template <class Number>
std::string bytes_of(Number number) {
  std::string bytes(sizeof(Number), '\0');
  std::memcpy(bytes.data(), &number, sizeof(Number));
  return bytes;
}

// A safetensors file from its header's text and its data.
inline std::string safetensors_text(const std::string& header, const std::string& data = "") {
  return bytes_of<uint64_t>(header.size()) + header + data;
}

// A GGUF file put together piece by piece, each piece as wrong as a test wants it.
struct GgufBytes {
  uint32_t version = 3;
  std::string metadata;
  uint64_t num_metadata = 0;
  std::string tensors;
  uint64_t num_tensors = 0;
  std::string data;
  size_t alignment = 32;

  static std::string text(const std::string& value) {
    return bytes_of<uint64_t>(value.size()) + value;
  }
  GgufBytes& entry(const std::string& key, uint32_t type, const std::string& value) {
    metadata += text(key) + bytes_of(type) + value;
    ++num_metadata;
    return *this;
  }
  GgufBytes& u32(const std::string& key, uint32_t value) { return entry(key, 4, bytes_of(value)); }
  GgufBytes& f32(const std::string& key, float value) { return entry(key, 6, bytes_of(value)); }
  GgufBytes& string(const std::string& key, const std::string& value) {
    return entry(key, 8, text(value));
  }
  GgufBytes& array(const std::string& key, uint32_t element, uint64_t count,
                   const std::string& values) {
    return entry(key, 9, bytes_of(element) + bytes_of(count) + values);
  }
  // Dimensions in the file's order (rows' length first).
  GgufBytes& tensor(const std::string& name, const std::vector<uint64_t>& dimensions, uint32_t type,
                    uint64_t offset) {
    tensors += text(name) + bytes_of(static_cast<uint32_t>(dimensions.size()));
    for (const uint64_t dimension : dimensions) tensors += bytes_of(dimension);
    tensors += bytes_of(type) + bytes_of(offset);
    ++num_tensors;
    return *this;
  }
  std::string bytes() const {
    std::string all = "GGUF" + bytes_of(version) + bytes_of(num_tensors) + bytes_of(num_metadata) +
                      metadata + tensors;
    all.resize((all.size() + alignment - 1) / alignment * alignment);
    return all + data;
  }
};

}  // namespace leash::testing

// A GGUF file's header, parsed and checked: where each metadata value and each tensor lies. Values
// are decoded when asked for, so that a vocabulary costs nothing until it is read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/io/mapped_file.h"

namespace leash {

// The file's type numbers.
enum class GgufType : uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12,
};

// Bytes of a number or bool; 0 for strings and arrays.
size_t gguf_type_size(GgufType type);
std::string_view gguf_type_name(GgufType type);

struct GgufValue {
  GgufType type = GgufType::u8;
  GgufType element = GgufType::u8;  // arrays only
  uint64_t count = 1;               // arrays: how many elements
  size_t begin = 0;                 // of the value (an array's first element) in the file
  size_t end = 0;                   // behind the value
};

struct GgufTensor {
  std::vector<int64_t> shape;  // torch's order
  uint32_t type = 0;           // ggml's number, perhaps one that is not supported
  int64_t num_values = 0;
  std::span<const std::byte> bytes;  // empty where the type is not supported
  size_t part = 0;                   // of a split model's files, the one with these bytes
};

struct GgufHeader {
  std::vector<std::string> keys;  // in the file's order
  std::map<std::string, GgufValue, std::less<>> metadata;
  std::map<std::string, GgufTensor, std::less<>> tensors;
};

// Throws FormatError naming the file and the byte offset where it goes wrong.
GgufHeader parse_gguf_header(const MappedFile& file);

}  // namespace leash

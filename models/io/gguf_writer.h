// Writing GGUF v3 as ggml lays it out: metadata and the table of tensors first, then each tensor's
// bytes at a multiple of 32.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "models/io/gguf.h"
#include "models/weights/block_type.h"

namespace leash {

class GgufWriter {
 public:
  // Metadata stands in the file in the order of these calls. A key that is set again keeps its
  // place and gets the new value.
  void u32(const std::string& key, int64_t value);
  void f32(const std::string& key, double value);
  void boolean(const std::string& key, bool value);
  void string(const std::string& key, std::string_view value);
  void strings(const std::string& key, const std::vector<std::string>& values);
  void i32s(const std::string& key, const std::vector<int64_t>& values);
  void f32s(const std::string& key, const std::vector<double>& values);
  void booleans(const std::string& key, const std::vector<bool>& values);
  // A value as another file has it.
  void copy(const std::string& key, const GgufFile& from);
  bool has(std::string_view key) const;

  // `values` gives fp32 of this shape (torch's order) and is asked once, while the file is written:
  // only one tensor is in memory at a time. f32, f16, bf16 or q8_0 with whole blocks in a row.
  void tensor(std::string name, std::vector<int64_t> shape, BlockType type,
              std::function<at::Tensor()> values);

  // Writes aside and renames. Throws std::system_error on a full disk and leaves no half of a file.
  void write(const std::filesystem::path& file) const;

 private:
  struct Entry {
    std::string key;
    std::string bytes;  // type and value
  };
  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;
    BlockType type;
    std::function<at::Tensor()> values;
    uint64_t size = 0;
  };
  void set(const std::string& key, std::string bytes);
  std::string header() const;

  std::vector<Entry> metadata_;
  std::vector<Tensor> tensors_;
};

}  // namespace leash

// GGUF v2 and v3, llama.cpp's file: typed metadata, then tensors that may be quantised
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/quant/block_formats.h"
#include "models/weights/tensor_source.h"

namespace leash {

// Tensors stand under the file's own names, with shapes in torch's order (GGUF stores them
// reversed).
class GgufFile : public TensorSource {
 public:
  // Maps a file, of a split model all of them (models/io/gguf_parts.h), and checks whole headers:
  // every length against the file, every tensor's place.
  // Tensors of a type that is not supported are an error only when they are read.
  static std::shared_ptr<const GgufFile> open(const std::filesystem::path& file);
  ~GgufFile() override;

  std::vector<std::string> metadata_keys() const;  // in the file's order
  // Absent keys give nullopt; a key of another type is a FormatError. int_value and ints take any
  // integer type and bool (as 0 or 1); float_value and floats take any number.
  std::optional<std::string> string_value(std::string_view key) const;
  std::optional<int64_t> int_value(std::string_view key) const;
  std::optional<double> float_value(std::string_view key) const;
  std::optional<std::vector<std::string>> strings(std::string_view key) const;
  std::optional<std::vector<int64_t>> ints(std::string_view key) const;
  std::optional<std::vector<double>> floats(std::string_view key) const;
  // How many entries the array under `key` has; nullopt when it is absent or no array.
  std::optional<int64_t> array_size(std::string_view key) const;

  // Type and value of an entry as the file has them (for GgufWriter); FormatError when it is
  // absent.
  std::string metadata_bytes(std::string_view key) const;

  // A tensor as it lies in the file, for code that computes straight from blocks. The bytes live as
  // long as this object.
  struct RawTensor {
    BlockType type;
    std::vector<int64_t> shape;
    std::span<const std::byte> bytes;
  };
  RawTensor raw(std::string_view name) const;

  std::vector<std::string> names() const override;
  bool contains(std::string_view name) const override;
  std::vector<int64_t> shape(std::string_view name) const override;
  at::Tensor read(std::string_view name, at::ScalarType dtype) const override;
  std::string origin() const override;
  // Throws a FormatError about this file.
  [[noreturn]] void fail(const std::string& what) const;

 private:
  struct State;
  explicit GgufFile(std::unique_ptr<const State> state);
  std::unique_ptr<const State> state_;
};

}  // namespace leash

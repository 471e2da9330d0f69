// A matrix whose rows are kept in a compressed form and turned into numbers a few at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "models/weights/tensor_source.h"

namespace leash {

class PackedRows {
 public:
  virtual ~PackedRows() = default;
  virtual int64_t num_rows() const = 0;
  virtual int64_t num_columns() const = 0;
  virtual int64_t bytes() const = 0;
  // Rows [row, row + count) as fp32, [count, num_columns] at `out`; only where the rows are on the
  // CPU. Runs on the calling thread.
  virtual void decode(int64_t row, int64_t count, float* out) const = 0;

  // Where the compressed rows are, and the same rows elsewhere.
  virtual at::Device device() const = 0;
  virtual std::shared_ptr<const PackedRows> to(at::Device device) const = 0;
  // The same numbers as decode's into a tensor [count, num_columns] on device(): a kernel on a GPU,
  // LibTorch's operators on other devices.
  virtual void decode_into(int64_t row, int64_t count, const at::Tensor& out) const = 0;
  // Rows by their numbers (int64 [n] on device()) as fp32 [n, num_columns]. Unless overridden all
  // rows are decoded.
  virtual at::Tensor decode_rows(const at::Tensor& ids) const;
};

// Rows that stay GGUF blocks. FormatError, naming `origin`, where the bytes are not whole blocks of
// whole rows.
std::shared_ptr<const PackedRows> packed_rows(const BlockMatrix& blocks, const std::string& origin);

// True for types that take less than 32 bits a value.
bool is_compressed(BlockType type);

}  // namespace leash

// A matrix whose rows are kept in a compressed form and turned into numbers a few at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "models/io/tensor_source.h"

namespace leash {

class PackedRows {
 public:
  virtual ~PackedRows() = default;
  virtual int64_t num_rows() const = 0;
  virtual int64_t num_columns() const = 0;
  virtual int64_t bytes() const = 0;
  // Rows [row, row + count) as fp32, [count, num_columns] at `out`. Runs on the calling thread.
  virtual void decode(int64_t row, int64_t count, float* out) const = 0;
};

// Rows that stay GGUF blocks. FormatError, naming `origin`, where the bytes are not whole blocks of
// whole rows.
std::shared_ptr<const PackedRows> packed_rows(const BlockMatrix& blocks, const std::string& origin);

// True for types that take less than 32 bits a value.
bool is_compressed(BlockType type);

}  // namespace leash

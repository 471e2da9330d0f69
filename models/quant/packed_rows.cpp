#include "models/quant/packed_rows.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <utility>

#include "models/errors.h"
#include "models/quant/device_decoding.h"

namespace leash {
namespace {

class BlockRows final : public PackedRows {
 public:
  BlockRows(BlockType type, int64_t columns, at::Tensor bytes)
      : type_(type), columns_(columns), bytes_(std::move(bytes)) {}
  int64_t num_rows() const override { return bytes_.size(0); }
  int64_t num_columns() const override { return columns_; }
  int64_t bytes() const override { return bytes_.numel(); }
  void decode(int64_t row, int64_t count, float* out) const override {
    const auto* begin = static_cast<const std::byte*>(bytes_.const_data_ptr());
    dequantize_blocks(type_, begin + row * bytes_.size(1), count * columns_, out);
  }
  at::Device device() const override { return bytes_.device(); }
  std::shared_ptr<const PackedRows> to(at::Device device) const override {
    return std::make_shared<BlockRows>(type_, columns_, bytes_.to(device));
  }
  void decode_into(int64_t row, int64_t count, const at::Tensor& out) const override {
    if (bytes_.is_cpu()) return decode(row, count, out.mutable_data_ptr<float>());
    decode_blocks_on_device(type_, bytes_.narrow(0, row, count), out);
  }
  at::Tensor decode_rows(const at::Tensor& ids) const override {
    const BlockRows chosen(type_, columns_, bytes_.index_select(0, ids));
    at::Tensor out = at::empty({ids.size(0), columns_}, bytes_.options().dtype(at::kFloat));
    chosen.decode_into(0, ids.size(0), out);
    return out;
  }

 private:
  BlockType type_;
  int64_t columns_;
  at::Tensor bytes_;  // uint8 [rows, bytes of a row]
};

}  // namespace

at::Tensor PackedRows::decode_rows(const at::Tensor& ids) const {
  const auto options = at::TensorOptions(at::kFloat).device(device());
  const at::Tensor all = at::empty({num_rows(), num_columns()}, options);
  decode_into(0, num_rows(), all);
  return all.index_select(0, ids);
}

std::shared_ptr<const PackedRows> packed_rows(const BlockMatrix& blocks,
                                              const std::string& origin) {
  const BlockFormat& format = block_format(blocks.type);
  if (blocks.columns <= 0 || blocks.columns % format.values != 0) {
    throw FormatError(fmt::format("{}: rows of {} values are not whole blocks of {} ({})", origin,
                                  blocks.columns, format.values, format.name));
  }
  const at::Tensor& bytes = blocks.bytes;
  const int64_t row_bytes = block_bytes(blocks.type, blocks.columns);
  if (bytes.dim() != 2 || bytes.scalar_type() != at::kByte || bytes.size(1) != row_bytes) {
    throw FormatError(fmt::format("{}: a row of {} {} values takes {} bytes, this one has {}",
                                  origin, blocks.columns, format.name, row_bytes,
                                  bytes.dim() == 2 ? bytes.size(1) : bytes.numel()));
  }
  return std::make_shared<BlockRows>(blocks.type, blocks.columns, bytes.contiguous());
}

bool is_compressed(BlockType type) {
  const BlockFormat& format = block_format(type);
  return format.bytes < 4 * format.values;
}

}  // namespace leash

// Names and row order of a GGUF's tensors, turned into Hugging Face's.
#include "models/io/gguf_checkpoint.h"

#include <ATen/ops/from_blob.h>
#include <fmt/format.h>

#include <map>
#include <utility>

#include "models/errors.h"
#include "models/io/gguf.h"
#include "models/io/gguf_config.h"
#include "models/io/gguf_rope.h"
#include "models/io/name_map.h"
#include "models/printable.h"

namespace leash {

namespace {

// llama.cpp rotates neighbouring entries of a head, Hugging Face entry i with entry i + half: its
// converter stores rows (half, 2) where Hugging Face has (2, half). Undone here, head by head.
at::Tensor undo_permutation(const at::Tensor& tensor, int64_t num_heads) {
  std::vector<int64_t> split = {num_heads, tensor.size(0) / num_heads / 2, 2};
  const auto sizes = tensor.sizes();
  split.insert(split.end(), sizes.begin() + 1, sizes.end());
  return tensor.view(split).transpose(1, 2).reshape(sizes);
}

// What a frozen product computes from; whole numbers and doubles are none of it.
bool is_weight_type(BlockType type) {
  switch (type) {
    case BlockType::i8:
    case BlockType::i16:
    case BlockType::i32:
    case BlockType::i64:
    case BlockType::f64:
      return false;
    default:
      return true;
  }
}

class GgufTensors : public TensorSource {
 public:
  GgufTensors(std::shared_ptr<const GgufFile> file, const DecoderConfig& config, bool permuted_qk)
      : file_(std::move(file)) {
    for (const auto& name : file_->names()) {
      if (name == kRopeDivisors) continue;
      const auto known = hugging_face_name(name);
      if (!known) {
        throw FormatError(
            fmt::format("{}: tensor '{}' belongs to no part of a decoder that is supported",
                        origin(), printable(name)));
      }
      tensors_.emplace(*known, Place{name, permuted_qk ? permuted_heads(*known, config) : 0});
    }
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, place] : tensors_) names.push_back(name);
    return names;
  }
  bool contains(std::string_view name) const override {
    return tensors_.find(name) != tensors_.end();
  }
  std::vector<int64_t> shape(std::string_view name) const override {
    return file_->shape(place(name).gguf_name);
  }
  at::Tensor read(std::string_view name, at::ScalarType dtype) const override {
    const Place& found = place(name);
    return in_order(file_->read(found.gguf_name, dtype), found);
  }
  std::optional<BlockMatrix> blocks(std::string_view name) const override {
    if (!block_type(name)) return std::nullopt;
    const Place& found = place(name);
    const GgufFile::RawTensor raw = file_->raw(found.gguf_name);
    const int64_t row_bytes = block_bytes(raw.type, raw.shape[1]);
    // The blob is only read, and copied before this returns.
    const at::Tensor mapped = at::from_blob(const_cast<std::byte*>(raw.bytes.data()),
                                            {raw.shape[0], row_bytes}, at::kByte);
    at::Tensor bytes = in_order(mapped, found);
    if (bytes.is_alias_of(mapped)) bytes = bytes.clone();
    return BlockMatrix{.type = raw.type, .columns = raw.shape[1], .bytes = bytes};
  }
  std::optional<BlockType> block_type(std::string_view name) const override {
    const GgufFile::RawTensor raw = file_->raw(place(name).gguf_name);
    if (raw.shape.size() != 2 || !is_weight_type(raw.type)) return std::nullopt;
    return raw.type;
  }
  std::string origin() const override { return file_->origin(); }

 private:
  struct Place {
    std::string gguf_name;
    int64_t permuted_heads = 0;  // 0: rows are in order
  };

  static int64_t permuted_heads(std::string_view name, const DecoderConfig& config) {
    switch (query_or_key(name)) {
      case QueryOrKey::query:
        return config.num_heads;
      case QueryOrKey::key:
        return config.num_kv_heads;
      case QueryOrKey::neither:
        return 0;
    }
    return 0;
  }

  // Rows in Hugging Face's order.
  at::Tensor in_order(const at::Tensor& tensor, const Place& place) const {
    if (place.permuted_heads == 0) return tensor;
    if (tensor.dim() == 0 || tensor.size(0) % (2 * place.permuted_heads) != 0) {
      throw FormatError(fmt::format("{}: the rows of tensor '{}' cannot be {} heads", origin(),
                                    place.gguf_name, place.permuted_heads));
    }
    return undo_permutation(tensor, place.permuted_heads);
  }

  const Place& place(std::string_view name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) {
      throw FormatError(fmt::format("{}: there is no tensor for '{}'", origin(), name));
    }
    return found->second;
  }

  std::shared_ptr<const GgufFile> file_;
  std::map<std::string, Place, std::less<>> tensors_;
};

}  // namespace

Checkpoint open_gguf_checkpoint(const std::filesystem::path& file) {
  const auto gguf = GgufFile::open(file);
  Checkpoint checkpoint;
  checkpoint.path = file;
  checkpoint.config = config_from_gguf(*gguf);
  checkpoint.tensors = std::make_shared<const GgufTensors>(gguf, checkpoint.config,
                                                           family_of(*gguf).gguf_permutes_qk);
  return checkpoint;
}

}  // namespace leash

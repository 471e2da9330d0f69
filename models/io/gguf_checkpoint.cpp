// Names and row order of a GGUF's tensors, turned into Hugging Face's.
#include "models/io/gguf_checkpoint.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/from_blob.h>
#include <fmt/format.h>

#include <set>
#include <utility>

#include "models/errors.h"
#include "models/io/gguf.h"
#include "models/io/gguf_config.h"
#include "models/io/gguf_rope.h"
#include "models/io/name_map.h"
#include "models/printable.h"

namespace leash {

namespace {

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
  GgufTensors(std::shared_ptr<const GgufFile> file, GgufPlaces places) : file_(std::move(file)) {
    std::set<std::string, std::less<>> known;
    for (auto& [hugging_face, place] : places) {
      known.insert(place.name);
      if (file_->contains(place.name)) tensors_.emplace(hugging_face, std::move(place));
    }
    for (const auto& name : file_->names()) {
      const bool fact = name == kRopeDivisors || name == kShortFactors || name == kLongFactors;
      if (fact || known.contains(name)) continue;
      throw FormatError(
          fmt::format("{}: tensor '{}' belongs to no part of a decoder that is supported", origin(),
                      printable(name)));
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
    return file_->shape(place(name).name);
  }
  at::Tensor read(std::string_view name, at::ScalarType dtype) const override {
    const GgufPlace& found = place(name);
    if (found.offset != 0) {
      return (file_->read(found.name, at::kFloat) - found.offset).to(dtype);
    }
    return in_order(file_->read(found.name, dtype), found);
  }
  std::optional<BlockMatrix> blocks(std::string_view name) const override {
    if (!block_type(name)) return std::nullopt;
    const GgufPlace& found = place(name);
    const GgufFile::RawTensor raw = file_->raw(found.name);
    const int64_t row_bytes = block_bytes(raw.type, raw.shape[1]);
    // The blob is only read, and copied before this returns.
    const at::Tensor mapped = at::from_blob(const_cast<std::byte*>(raw.bytes.data()),
                                            {raw.shape[0], row_bytes}, at::kByte);
    at::Tensor bytes = in_order(mapped, found);
    if (bytes.is_alias_of(mapped)) bytes = bytes.clone();
    return BlockMatrix{.type = raw.type, .columns = raw.shape[1], .bytes = bytes};
  }
  std::optional<BlockType> block_type(std::string_view name) const override {
    const GgufFile::RawTensor raw = file_->raw(place(name).name);
    if (raw.shape.size() != 2 || !is_weight_type(raw.type)) return std::nullopt;
    return raw.type;
  }
  std::string origin() const override { return file_->origin(); }

 private:
  // Rows in Hugging Face's order.
  at::Tensor in_order(const at::Tensor& tensor, const GgufPlace& place) const {
    try {
      return from_gguf_order(tensor, place);
    } catch (const FormatError& error) {
      throw FormatError(origin() + ": " + error.what());
    }
  }

  const GgufPlace& place(std::string_view name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) {
      throw FormatError(fmt::format("{}: there is no tensor for '{}'", origin(), name));
    }
    return found->second;
  }

  std::shared_ptr<const GgufFile> file_;
  GgufPlaces tensors_;  // those that the file has
};

}  // namespace

Checkpoint open_gguf_checkpoint(const std::filesystem::path& file) {
  const auto gguf = GgufFile::open(file);
  Checkpoint checkpoint;
  checkpoint.path = file;
  checkpoint.config = config_from_gguf(*gguf);
  checkpoint.tensors = std::make_shared<const GgufTensors>(
      gguf, gguf_places(checkpoint.config, architecture_of(*gguf)));
  return checkpoint;
}

}  // namespace leash

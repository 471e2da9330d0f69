// Names and row order of a GGUF's tensors, turned into Hugging Face's.
#include "models/io/gguf_checkpoint.h"

#include <fmt/format.h>

#include <map>
#include <utility>

#include "models/errors.h"
#include "models/io/gguf.h"
#include "models/io/gguf_config.h"
#include "models/io/gguf_rope.h"
#include "models/io/name_map.h"

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

class GgufTensors : public TensorSource {
 public:
  GgufTensors(std::shared_ptr<const GgufFile> file, const DecoderConfig& config, bool permuted_qk)
      : file_(std::move(file)) {
    for (const auto& name : file_->names()) {
      if (name == kRopeDivisors) continue;
      const auto known = hugging_face_name(name);
      if (!known) {
        throw FormatError(fmt::format(
            "{}: tensor '{}' belongs to no part of a decoder that is supported", origin(), name));
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
    at::Tensor tensor = file_->read(found.gguf_name, dtype);
    if (found.permuted_heads == 0) return tensor;
    if (tensor.dim() == 0 || tensor.size(0) % (2 * found.permuted_heads) != 0) {
      throw FormatError(fmt::format("{}: the rows of tensor '{}' cannot be {} heads", origin(),
                                    found.gguf_name, found.permuted_heads));
    }
    return undo_permutation(tensor, found.permuted_heads);
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

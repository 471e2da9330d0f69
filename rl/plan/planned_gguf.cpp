#include "rl/plan/planned_gguf.h"

#include <fmt/format.h>

#include <map>
#include <utility>

#include "models/errors.h"
#include "models/io/gguf_architecture.h"

namespace leash {
namespace {

constexpr int64_t kLargeBlock = 256, kSmallBlock = 32;

struct PlannedTensor {
  std::vector<int64_t> shape;
  BlockType type = BlockType::f32;
};

// llama.cpp's use_more_bits: the first and the last eighth of the layers, and each third between.
bool has_more_bits(int64_t layer, int64_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

BlockType wanted_type(const ModuleInfo& module, const DecoderConfig& config) {
  switch (module.role) {
    case ModuleRole::lm_head:
      return BlockType::q6_k;
    case ModuleRole::embedding:
      return config.tie_word_embeddings ? BlockType::q6_k : BlockType::q4_k;
    case ModuleRole::value:
    case ModuleRole::down:
      return has_more_bits(module.layer, config.num_layers) ? BlockType::q6_k : BlockType::q4_k;
    case ModuleRole::qkv:
      return BlockType::q5_k;
    default:
      return BlockType::q4_k;
  }
}

BlockType type_of_row(BlockType wanted, int64_t columns) {
  if (columns % kLargeBlock == 0) return wanted;
  if (columns % kSmallBlock != 0) return BlockType::f16;
  switch (wanted) {
    case BlockType::q4_k:
      return BlockType::q5_0;
    case BlockType::q5_k:
      return BlockType::q5_1;
    default:
      return BlockType::q8_0;
  }
}

bool has_architecture(const ModelFacts& model) {
  try {
    gguf_architecture_for(model.config, model.name);
    return true;
  } catch (const FormatError&) {
    return false;
  }
}

class PlannedGguf final : public TensorSource {
 public:
  explicit PlannedGguf(const ModelFacts& model) : name_(model.name + " as Q4_K_M") {
    for (const ModuleInfo& module : model.modules) {
      if (module.role == ModuleRole::lm_head && !model.own_head) continue;
      const std::vector<int64_t> shape = weight_shape(module);
      const bool matrix = module.kind != ModuleKind::norm && module.role != ModuleRole::positions;
      tensors_[module.path + ".weight"] = {
          shape,
          matrix ? type_of_row(wanted_type(module, model.config), shape.back()) : BlockType::f32};
      if (module.has_bias) tensors_[module.path + ".bias"] = {bias_shape(module)};
    }
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : tensors_) names.push_back(name);
    return names;
  }
  bool contains(std::string_view name) const override {
    return tensors_.find(name) != tensors_.end();
  }
  std::vector<int64_t> shape(std::string_view name) const override { return at(name).shape; }
  at::Tensor read(std::string_view name, at::ScalarType) const override {
    throw FormatError(fmt::format("{}: {} is planned, not there", name_, name));
  }
  std::optional<BlockType> block_type(std::string_view name) const override {
    const PlannedTensor& tensor = at(name);
    return tensor.shape.size() == 2 ? std::optional(tensor.type) : std::nullopt;
  }
  std::string origin() const override { return name_; }

 private:
  const PlannedTensor& at(std::string_view name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) {
      throw FormatError(fmt::format("{}: has no tensor {}", name_, name));
    }
    return found->second;
  }

  std::string name_;
  std::map<std::string, PlannedTensor, std::less<>> tensors_;
};

}  // namespace

std::optional<ModelFacts> with_q4_k_m(const ModelFacts& model) {
  if (!has_architecture(model)) return std::nullopt;
  ModelFacts planned = model;
  planned.tensors = std::make_shared<const PlannedGguf>(model);
  return planned;
}

}  // namespace leash

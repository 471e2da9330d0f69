#include "models/export/merged_checkpoint.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>

#include <map>
#include <memory>
#include <utility>

namespace leash {
namespace {

// One tensor of the merged model. Without a base (a score head) it is all the adapter's.
struct MergedTensor {
  std::string base_name;  // empty: none
  std::optional<at::Tensor> copy = {};
  const LoraWeights* update = nullptr;
};
using MergedPlan = std::map<std::string, MergedTensor, std::less<>>;

class MergedTensors final : public TensorSource {
 public:
  MergedTensors(std::shared_ptr<const TensorSource> base, Adapter adapter)
      : base_(std::move(base)), adapter_(std::move(adapter)) {}

  const Adapter& adapter() const { return adapter_; }
  void add(const std::string& name, MergedTensor tensor) { plan_[name] = std::move(tensor); }
  void leave_out(const std::string& name) { plan_.erase(name); }

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : plan_) names.push_back(name);
    return names;
  }
  bool contains(std::string_view name) const override { return plan_.contains(name); }
  std::vector<int64_t> shape(std::string_view name) const override {
    const MergedTensor* tensor = find(name);
    if (tensor != nullptr && tensor->copy) return tensor->copy->sizes().vec();
    return base_->shape(tensor != nullptr ? tensor->base_name : name);
  }
  at::Tensor read(std::string_view name, at::ScalarType dtype) const override {
    const c10::AutoGradMode no_grad(false);
    const MergedTensor* tensor = find(name);
    if (tensor == nullptr) return base_->read(name, dtype);
    if (!tensor->copy && tensor->update == nullptr) return base_->read(tensor->base_name, dtype);
    at::Tensor values = tensor->copy ? tensor->copy->detach().cpu().to(at::kFloat)
                                     : base_->read(tensor->base_name, at::kFloat);
    if (const LoraWeights* update = tensor->update) {
      const at::Tensor product = at::matmul(update->b.detach().cpu().to(at::kFloat),
                                            update->a.detach().cpu().to(at::kFloat));
      values = values + product * update->scaling;
    }
    return values.to(dtype);
  }
  // What an adapter leaves alone keeps its blocks.
  std::optional<BlockMatrix> blocks(std::string_view name) const override {
    return is_untouched(name) ? base_->blocks(find(name)->base_name) : std::nullopt;
  }
  std::optional<BlockType> block_type(std::string_view name) const override {
    return is_untouched(name) ? base_->block_type(find(name)->base_name) : std::nullopt;
  }
  std::string origin() const override { return base_->origin() + " with an adapter"; }

 private:
  const MergedTensor* find(std::string_view name) const {
    const auto found = plan_.find(name);
    return found == plan_.end() ? nullptr : &found->second;
  }
  bool is_untouched(std::string_view name) const {
    const MergedTensor* tensor = find(name);
    return tensor != nullptr && !tensor->copy && tensor->update == nullptr;
  }

  std::shared_ptr<const TensorSource> base_;
  Adapter adapter_;
  MergedPlan plan_;
};

bool changes(const Adapter& adapter, int64_t module) {
  return adapter.lora(module) != nullptr || adapter.weight_copy(module) != nullptr;
}

void add_module(const TensorSource& base, int64_t module, const std::string& weight_of,
                MergedTensors& merged) {
  const Adapter& adapter = merged.adapter();
  const ModuleInfo& info = adapter.modules()[static_cast<size_t>(module)];
  TORCH_CHECK(info.kind == ModuleKind::linear || adapter.lora(module) == nullptr,
              "an update of an embedding is not merged");
  MergedTensor weight{.base_name = weight_of, .update = adapter.lora(module)};
  if (const at::Tensor* copy = adapter.weight_copy(module)) weight.copy = *copy;
  merged.add(info.path + ".weight", std::move(weight));
  const std::string bias = info.path + ".bias";
  if (const at::Tensor* copy = adapter.bias_copy(module)) {
    merged.add(bias, {.base_name = bias, .copy = *copy});
  } else if (base.contains(bias)) {
    merged.add(bias, {.base_name = bias});
  }
}

// One tensor serves embedding and head as long as nothing changes either.
bool stays_tied(const DecoderConfig& config, const Adapter& adapter) {
  if (!config.tie_word_embeddings) return false;
  for (size_t i = 0; i < adapter.modules().size(); ++i) {
    const ModuleRole role = adapter.modules()[i].role;
    const bool shared = role == ModuleRole::embedding || role == ModuleRole::lm_head;
    if (shared && changes(adapter, static_cast<int64_t>(i))) return false;
  }
  return true;
}

}  // namespace

Checkpoint merged_checkpoint(const Checkpoint& base, const Adapter& adapter) {
  Checkpoint result{.path = base.path, .config = base.config, .tensors = {}};
  const auto merged = std::make_shared<MergedTensors>(base.tensors, adapter);
  const std::vector<ModuleInfo>& modules = merged->adapter().modules();
  const bool scores = !modules.empty() && modules.back().role == ModuleRole::score;
  const bool tied = base.config.tie_word_embeddings;
  result.config.tie_word_embeddings = stays_tied(base.config, merged->adapter());
  std::string embedding;
  for (size_t i = 0; i < modules.size(); ++i) {
    const ModuleInfo& info = modules[i];
    std::string weight = info.path + ".weight";
    if (info.role == ModuleRole::embedding) embedding = weight;
    if (info.role == ModuleRole::lm_head) {
      // A sequence classifier has none, and a tied one needs none.
      if (scores || base.config.num_labels > 0 || result.config.tie_word_embeddings) continue;
      if (tied && !base.tensors->contains(weight)) weight = embedding;
    }
    add_module(*base.tensors, static_cast<int64_t>(i), weight, *merged);
  }
  if (scores) {
    result.config.num_labels = modules.back().out_features;
  } else if (base.config.num_labels > 0) {
    merged->add("score.weight", {.base_name = "score.weight"});
  }
  result.tensors = merged;
  return result;
}

}  // namespace leash

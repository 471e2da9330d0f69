#include "models/io/arranged_tensors.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "models/families/decoder_modules.h"
#include "models/families/module_paths.h"

namespace leash {
namespace {

struct FilePlace {
  std::string name;  // in the file
  bool transposed = false;
};
using FilePlaces = std::map<std::string, FilePlace, std::less<>>;

class ArrangedTensors final : public TensorSource {
 public:
  ArrangedTensors(std::shared_ptr<const TensorSource> file, FilePlaces places)
      : file_(std::move(file)), places_(std::move(places)) {}

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, place] : places_) names.push_back(name);
    return names;
  }
  bool contains(std::string_view name) const override { return places_.contains(name); }
  std::vector<int64_t> shape(std::string_view name) const override {
    const FilePlace found = place(name);
    std::vector<int64_t> shape = file_->shape(found.name);
    if (found.transposed) std::ranges::reverse(shape);
    return shape;
  }
  at::Tensor read(std::string_view name, at::ScalarType dtype) const override {
    const FilePlace found = place(name);
    const at::Tensor tensor = file_->read(found.name, dtype);
    return found.transposed && tensor.dim() == 2 ? tensor.t().contiguous() : tensor;
  }
  std::optional<BlockMatrix> blocks(std::string_view name) const override {
    const FilePlace found = place(name);
    return found.transposed ? std::nullopt : file_->blocks(found.name);
  }
  std::optional<BlockType> block_type(std::string_view name) const override {
    const FilePlace found = place(name);
    return found.transposed ? std::nullopt : file_->block_type(found.name);
  }
  std::string origin() const override { return file_->origin(); }

 private:
  // The file says what it lacks.
  FilePlace place(std::string_view name) const {
    const auto found = places_.find(name);
    return found == places_.end() ? FilePlace{.name = std::string(name)} : found->second;
  }

  std::shared_ptr<const TensorSource> file_;
  FilePlaces places_;
};

// What files may call a module, the likeliest first.
std::vector<std::string> paths_in_files(const ModuleInfo& module, const ModulePaths& paths) {
  std::vector<std::string> names = {module.path};
  const auto add = [&names](std::string_view name) {
    if (!name.empty()) names.emplace_back(name);
  };
  if (is_head(module)) {
    add(paths.head_in_files);
    add(paths.older_head);
    return names;
  }
  names.push_back(module.path.substr(module.path.find('.') + 1));
  if (!paths.older_trunk.empty()) {
    names.push_back(std::string(paths.older_trunk) + module.path.substr(paths.trunk.size()));
  }
  return names;
}

}  // namespace

std::shared_ptr<const TensorSource> arranged(std::shared_ptr<const TensorSource> file,
                                             const DecoderConfig& config) {
  const ModulePaths paths = module_paths(config);
  FilePlaces places;
  std::set<std::string, std::less<>> taken;
  bool changes = false;
  const auto find = [&](const std::string& name, const std::vector<std::string>& candidates,
                        const char* kind, bool transposed) {
    for (const std::string& candidate : candidates) {
      std::string in_file = candidate + kind;
      if (!file->contains(in_file)) continue;
      changes = changes || transposed || in_file != name;
      taken.insert(in_file);
      places.emplace(name, FilePlace{.name = std::move(in_file), .transposed = transposed});
      return;
    }
  };
  for (const ModuleInfo& module : decoder_modules(config)) {
    const std::vector<std::string> candidates = paths_in_files(module, paths);
    find(module.path + ".weight", candidates, ".weight", module.transposed);
    if (module.has_bias) find(module.path + ".bias", candidates, ".bias", false);
  }
  if (!changes) return file;
  for (const std::string& name : file->names()) {
    if (!taken.contains(name)) places.emplace(name, FilePlace{.name = name});
  }
  return std::make_shared<const ArrangedTensors>(std::move(file), std::move(places));
}

}  // namespace leash

// Several safetensors files as one source, by the index that names the file of each tensor.
#include <fmt/format.h>

#include "models/errors.h"
#include "models/io/json_file.h"
#include "models/io/safetensors.h"

namespace leash {

namespace {

using Shard = std::shared_ptr<const TensorSource>;

class ShardedSafetensors : public TensorSource {
 public:
  explicit ShardedSafetensors(const std::filesystem::path& index) : index_(index) {
    const nlohmann::json json = read_json_file(index);
    const auto map = json.find("weight_map");
    if (!json.is_object() || map == json.end() || !map->is_object()) {
      throw FormatError(origin() + ": has no 'weight_map'");
    }
    std::map<std::string, Shard> opened;
    for (const auto& [name, file] : map->items()) {
      const std::string shard_name = checked_file_name(name, file);
      Shard& shard = opened[shard_name];
      if (!shard) shard = open_safetensors(index_.parent_path() / shard_name);
      if (!shard->contains(name)) {
        throw FormatError(fmt::format("{}: tensor '{}' is not in {}, where the index places it",
                                      origin(), brief(name), brief(shard_name)));
      }
      shard_of_.emplace(name, shard);
    }
    // transformers loads what a shard holds beyond the index, too; whoever reads names sees it.
    for (const auto& [file, shard] : opened) {
      for (const std::string& name : shard->names()) shard_of_.emplace(name, shard);
    }
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, shard] : shard_of_) names.push_back(name);
    return names;
  }
  bool contains(std::string_view name) const override {
    return shard_of_.find(name) != shard_of_.end();
  }
  std::vector<int64_t> shape(std::string_view name) const override {
    return shard(name).shape(name);
  }
  at::Tensor read(std::string_view name, at::ScalarType dtype) const override {
    return shard(name).read(name, dtype);
  }
  std::string origin() const override { return index_.string(); }

 private:
  // A shard lies beside the index: an index must not lead a reader out of its folder.
  std::string checked_file_name(const std::string& tensor, const nlohmann::json& file) const {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    if (name.empty() || name == "." || name == ".." ||
        name.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos) {
      throw FormatError(fmt::format("{}: tensor '{}' lies in {}, which is no plain file name",
                                    origin(), brief(tensor), brief(file.dump())));
    }
    return name;
  }

  const TensorSource& shard(std::string_view name) const {
    const auto found = shard_of_.find(name);
    if (found == shard_of_.end()) {
      throw FormatError(fmt::format("{}: there is no tensor '{}'", origin(), brief(name)));
    }
    return *found->second;
  }

  std::filesystem::path index_;
  std::map<std::string, Shard, std::less<>> shard_of_;
};

}  // namespace

std::shared_ptr<const TensorSource> open_sharded_safetensors(const std::filesystem::path& index) {
  return std::make_shared<const ShardedSafetensors>(index);
}

}  // namespace leash

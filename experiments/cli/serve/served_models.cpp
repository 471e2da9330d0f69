#include "experiments/cli/serve/served_models.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "models/errors.h"

namespace leash::cli {

ServedModels::ServedModels(const LoadedModel& base, std::string base_name,
                           const std::vector<std::string>& adapters) {
  models_.push_back({.name = std::move(base_name), .adapter = nullptr});
  for (const std::string& text : adapters) {
    const size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos || equals + 1 == text.size()) {
      throw ConfigError(fmt::format("--adapter has to be NAME=DIR, not `{}`", text));
    }
    const std::string name = text.substr(0, equals);
    if (find(name) != nullptr) {
      throw ConfigError(fmt::format("two models are called `{}`: choose another NAME", name));
    }
    adapters_.push_back(load_frozen_adapter(text.substr(equals + 1), base));
    models_.push_back({.name = name, .adapter = &adapters_.back()});
  }
}

const ServedModel* ServedModels::find(const std::string& name) const {
  if (name.empty()) return &models_.front();
  const auto found = std::ranges::find(models_, name, &ServedModel::name);
  return found == models_.end() ? nullptr : &*found;
}

std::string served_name(const std::string& model) {
  std::error_code ignored;
  if (!std::filesystem::exists(model, ignored)) return model;
  const std::filesystem::path path = std::filesystem::absolute(model).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

}  // namespace leash::cli

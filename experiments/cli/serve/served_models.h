// Which models a server has: its base and every adapter on it, by name.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "experiments/cli/load_model.h"
#include "rollout/engine.h"

namespace leash::cli {

struct ServedModel {
  std::string name;
  const Adapter* adapter = nullptr;  // nullptr: the base
};

class ServedModels {
 public:
  // `adapters`: NAME=DIR. ConfigError, FormatError.
  ServedModels(const LoadedModel& base, std::string name, const std::vector<std::string>& adapters);
  // Empty: the base; nullptr: there is none.
  const ServedModel* find(const std::string& name) const;
  const std::vector<ServedModel>& all() const { return models_; }

 private:
  std::deque<Adapter> adapters_;  // which stay where they are
  std::vector<ServedModel> models_;
};

// A base's name: what --model says, of a path the last part.
std::string served_name(const std::string& model);

}  // namespace leash::cli

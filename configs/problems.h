// All problems of a recipe, collected and reported at once.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "configs/config_value.h"

namespace leash {

// Where each setting was written, by its path ("ppo.learning_rate", "reward[0].name"); settings
// that nobody wrote are absent.
using Written = std::map<std::string, Place, std::less<>>;

class Problems {
 public:
  // "ppo.yaml:12: ppo.cliprange: has to be above 0, not -1"
  void add(const Place& place, const std::string& path, const std::string& what);
  // At the place where `path`, or the nearest section around it, was written.
  void add(const Written& written, const std::string& path, const std::string& what);

  // A key that nobody reads. It leaves every setting as it was, so rules across settings can still
  // be checked.
  void add_unknown(const Place& place, const std::string& path, const std::string& what);

  bool empty() const { return lines_.empty(); }
  // Whether all that was written to a setting could be read.
  bool settings_are_read() const { return static_cast<int64_t>(lines_.size()) == num_unknown_; }
  const std::vector<std::string>& lines() const { return lines_; }
  // Throws ConfigError with all lines when there are any.
  void check() const;

 private:
  std::vector<std::string> lines_;
  int64_t num_unknown_ = 0;
};

}  // namespace leash

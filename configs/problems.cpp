#include "configs/problems.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/errors.h"

namespace leash {

void Problems::add(const Place& place, const std::string& path, const std::string& what) {
  const std::string at = place.text();
  std::string line = at.empty() ? "" : at + ": ";
  if (!path.empty()) line += path + ": ";
  lines_.push_back(line + what);
}

void Problems::add_unknown(const Place& place, const std::string& path, const std::string& what) {
  add(place, path, what);
  ++num_unknown_;
}

void Problems::add(const Written& written, const std::string& path, const std::string& what) {
  for (std::string around = path;;) {
    if (const auto found = written.find(around); found != written.end()) {
      return add(found->second, path, what);
    }
    const size_t cut = around.find_last_of(".[");
    if (cut == std::string::npos) break;
    around.resize(cut);
  }
  const auto root = written.find("");
  add(root != written.end() ? Place{root->second.source} : Place{}, path, what);
}

void Problems::check() const {
  if (!lines_.empty()) throw ConfigError(fmt::format("{}", fmt::join(lines_, "\n")));
}

}  // namespace leash

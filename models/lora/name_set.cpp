// How module names are matched.
#include "models/lora/name_set.h"

#include <algorithm>

namespace leash {

bool ends_in_name(std::string_view path, std::string_view name) {
  return path == name || (path.size() > name.size() && path.ends_with(name) &&
                          path[path.size() - name.size() - 1] == '.');
}

NameSet::NameSet(const StringOrList& setting, const std::string& where) {
  if (const auto* text = std::get_if<std::string>(&setting)) {
    if (!text->empty()) pattern_.emplace(*text, where);
  } else {
    names_ = std::get<std::vector<std::string>>(setting);
  }
}

NameSet::Hit NameSet::hit(std::string_view path) const {
  if (pattern_) return pattern_->matches_whole(path) ? Hit::whole : Hit::none;
  if (std::ranges::find(names_, path) != names_.end()) return Hit::whole;
  const bool found =
      std::ranges::any_of(names_, [&](const auto& name) { return ends_in_name(path, name); });
  return found ? Hit::by_name_end : Hit::none;
}

}  // namespace leash

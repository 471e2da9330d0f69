// A set of module names as PEFT writes it: a list of names, or one regular expression.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/fields.h"
#include "models/lora/python_pattern.h"

namespace leash {

// Equal, or ending in ".name".
bool ends_in_name(std::string_view path, std::string_view name);

class NameSet {
 public:
  enum class Hit { none, by_name_end, whole };

  // `where` names the setting in messages. An empty string or list matches nothing.
  NameSet(const StringOrList& setting, const std::string& where);

  bool empty() const { return !pattern_ && names_.empty(); }
  Hit hit(std::string_view path) const;

 private:
  std::optional<PythonPattern> pattern_;
  std::vector<std::string> names_;
};

}  // namespace leash

#include "configs/config_value.h"

#include <fmt/format.h>

namespace leash {

std::string Place::text() const { return line > 0 ? fmt::format("{}:{}", source, line) : source; }

const ConfigValue* ConfigValue::find(std::string_view key) const {
  for (const auto& [name, value] : fields) {
    if (name == key) return &value;
  }
  return nullptr;
}

ConfigValue* ConfigValue::find(std::string_view key) {
  return const_cast<ConfigValue*>(std::as_const(*this).find(key));
}

std::string describe(const ConfigValue& value) {
  switch (value.kind) {
    case ConfigValue::Kind::null:
      return "null";
    case ConfigValue::Kind::scalar:
      return "`" + value.scalar.substr(0, 80) + "`";
    case ConfigValue::Kind::list:
      return "a list";
    case ConfigValue::Kind::map:
      return "a map";
    case ConfigValue::Kind::refused:
      return "what was refused";
  }
  return "?";
}

}  // namespace leash

// A described struct as YAML that reads back equal: what resolved.yaml and `leash config show` are
// made of.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "configs/binder.h"
#include "configs/scalars.h"
#include "models/fields.h"
#include "models/json_setting.h"
#include "models/one_or_more.h"
#include "models/ordered_map.h"

namespace leash {

// Flow style, for everything that fits on the line of its key.
inline std::string flow_text(bool value) { return value ? "true" : "false"; }
inline std::string flow_text(int64_t value) { return std::to_string(value); }
inline std::string flow_text(double value) { return number_text(value); }
inline std::string flow_text(const std::string& value) { return yaml_string(value); }
inline std::string flow_text(const std::filesystem::path& value) {
  return yaml_string(value.string());
}
inline std::string flow_text(const ModelPath& value) { return yaml_string(value.name); }
template <NamedEnum E>
std::string flow_text(E value) {
  return std::string(enum_name(value));
}
template <class T>
std::string flow_text(const std::vector<T>& values);
template <class T>
std::string flow_text(const std::optional<T>& value) {
  return value ? flow_text(*value) : "null";
}
template <class T>
std::string flow_text(const std::vector<T>& values) {
  std::string text;
  for (const T& value : values) text += (text.empty() ? "" : ", ") + flow_text(value);
  return "[" + text + "]";
}
template <class T>
std::string flow_text(const OneOrMore<T>& value) {
  return value.values.size() == 1 ? flow_text(value.values.front()) : flow_text(value.values);
}
template <class Map>
std::string flow_map(const Map& values) {
  std::string text;
  for (const auto& [key, value] : values) {
    text += (text.empty() ? "" : ", ") + yaml_string(key) + ": " + flow_text(value);
  }
  return "{" + text + "}";
}
template <class T>
std::string flow_text(const std::map<std::string, T>& values) {
  return flow_map(values);
}
template <class T>
std::string flow_text(const OrderedMap<T>& values) {
  return flow_map(values);
}
inline std::string flow_text(const StringOrList& value) {
  return std::visit([](const auto& held) { return flow_text(held); }, value);
}

// JSON is YAML.
inline std::string flow_text(const JsonObject& value) {
  return value.text.empty() ? "{}" : value.text;
}

class YamlWriter {
 public:
  explicit YamlWriter(int indent = 0) : indent_(indent) {}

  template <class T>
  void operator()(std::string_view name, const T& member, std::string_view, const Range& = {}) {
    write(name, member);
  }
  const std::string& text() const { return text_; }

 private:
  std::string margin() const { return std::string(static_cast<size_t>(indent_), ' '); }

  template <class T>
  void write(std::string_view name, const T& member) {
    text_ += fmt::format("{}{}: {}\n", margin(), name, flow_text(member));
  }
  template <Described T>
  void write(std::string_view name, const T& member) {
    YamlWriter inner(indent_ + 2);
    visit_fields(member, inner);
    text_ += fmt::format("{}{}:\n{}", margin(), name, inner.text());
  }
  template <Described T>
  void write(std::string_view name, const std::vector<T>& members) {
    if (members.empty()) {
      text_ += fmt::format("{}{}: []\n", margin(), name);
      return;
    }
    text_ += fmt::format("{}{}:\n", margin(), name);
    for (const T& member : members) {
      YamlWriter inner(indent_ + 4);
      visit_fields(member, inner);
      std::string text = inner.text();
      text[static_cast<size_t>(indent_) + 2] = '-';
      text_ += text;
    }
  }
  template <Described T>
  void write(std::string_view name, const std::optional<T>& member) {
    if (member) {
      write(name, *member);
    } else {
      text_ += fmt::format("{}{}: null\n", margin(), name);
    }
  }

  int indent_;
  std::string text_;
};

}  // namespace leash

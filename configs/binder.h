// Binds the structs that describe their own fields (models/fields.h) to a ConfigValue: one reader
// for all that the user can write.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <variant>
#include <vector>

#include "configs/config_value.h"
#include "configs/json_value.h"
#include "configs/problems.h"
#include "configs/scalars.h"
#include "configs/suggest.h"
#include "models/errors.h"
#include "models/fields.h"
#include "models/io/hub_cache.h"
#include "models/list_hint.h"
#include "models/one_or_more.h"
#include "models/ordered_map.h"

namespace leash {

template <class T>
concept Described = requires(T& config) {
  visit_fields(config, [](auto&&...) {});
};

// Where problems and places go while a tree is read.
struct ReadContext {
  Problems& problems;
  Written& written;
};

// A relative path belongs to the folder of the file in which they stand.
inline std::filesystem::path anchored(const std::string& text, const Place& place) {
  const std::filesystem::path path(text);
  if (path.is_absolute() || place.folder.empty()) return path;
  return (place.folder / path).lexically_normal();
}

// A path that there is; else, where Hugging Face's cache has a repository of that name, its
// snapshot, which a run then stays with; else the path again, which loading finds missing.
inline std::string model_named(const std::string& text, const std::filesystem::path& path) {
  std::error_code error;
  const auto name = parse_hub_name(text);
  if (!name || std::filesystem::exists(path, error)) return path.string();
  try {
    if (const auto snapshot = find_in_hub_cache(*name)) return snapshot->string();
  } catch (const FormatError&) {
    return text;  // loading says what is wrong with it
  }
  return path.string();
}

template <Described T>
void read_value(const ConfigValue& value, T& into, const std::string& path, const Range& range,
                ReadContext context);

inline bool is_scalar(const ConfigValue& value, const std::string& path, std::string_view wanted,
                      ReadContext context) {
  if (value.kind == ConfigValue::Kind::scalar) return true;
  context.problems.add(value.place, path,
                       fmt::format("has to be {}, not {}", wanted, describe(value)));
  return false;
}

template <class T>
requires std::is_arithmetic_v<T>
void read_value(const ConfigValue& value, T& into, const std::string& path, const Range& range,
                ReadContext context) {
  constexpr std::string_view wanted = std::is_same_v<T, bool>      ? "true or false"
                                      : std::is_same_v<T, int64_t> ? "a whole number"
                                                                   : "a number";
  if (!is_scalar(value, path, wanted, context)) return;
  std::optional<T> parsed;
  if constexpr (std::is_same_v<T, bool>) parsed = parse_boolean(value.scalar);
  if constexpr (std::is_same_v<T, int64_t>) parsed = parse_integer(value.scalar);
  if constexpr (std::is_same_v<T, double>) parsed = parse_number(value.scalar);
  if (!parsed) {
    std::string_view beyond;
    if constexpr (!std::is_same_v<T, bool>) beyond = beyond_type<T>(value.scalar);
    return context.problems.add(value.place, path,
                                beyond.empty()
                                    ? fmt::format("has to be {}, not {}", wanted, describe(value))
                                    : fmt::format("{} {}", describe(value), beyond));
  }
  const auto number = static_cast<double>(*parsed);
  auto problem = range_problem(number, range);
  if (!problem && std::is_same_v<T, int64_t>) problem = range_problem(number, integer_range(range));
  if (problem) {
    return context.problems.add(value.place, path, *problem);
  }
  into = *parsed;
}

inline void read_value(const ConfigValue& value, std::string& into, const std::string& path,
                       const Range&, ReadContext context) {
  if (is_scalar(value, path, "a text", context)) into = value.scalar;
}

// A scalar that is not empty: "" would be the folder itself.
inline bool is_path(const ConfigValue& value, const std::string& path, std::string_view wanted,
                    ReadContext context) {
  if (value.kind == ConfigValue::Kind::scalar && !value.scalar.empty()) return true;
  context.problems.add(value.place, path,
                       fmt::format("has to be {}, not {}", wanted, describe(value)));
  return false;
}

inline void read_value(const ConfigValue& value, std::filesystem::path& into,
                       const std::string& path, const Range&, ReadContext context) {
  if (is_path(value, path, "a path", context)) into = anchored(value.scalar, value.place);
}

inline void read_value(const ConfigValue& value, ModelPath& into, const std::string& path,
                       const Range&, ReadContext context) {
  if (!is_path(value, path, "a model", context)) return;
  into = value.scalar;
  if (!into.is_name()) into = model_named(value.scalar, anchored(value.scalar, value.place));
}

template <NamedEnum E>
void read_value(const ConfigValue& value, E& into, const std::string& path, const Range&,
                ReadContext context) {
  std::vector<std::string> names;
  for (const auto& [known, name] : EnumNames<E>::values) {
    if (value.kind == ConfigValue::Kind::scalar && value.scalar == name) {
      into = known;
      return;
    }
    names.emplace_back(name);
  }
  if (const auto reason = enum_refusal<E>(value.scalar)) {
    const std::string problem = choice_problem(describe(value), /*written=*/"", names);
    return context.problems.add(value.place, path, fmt::format("{}: {}", problem, *reason));
  }
  context.problems.add(value.place, path, choice_problem(describe(value), value.scalar, names));
}

template <class T>
void read_value(const ConfigValue& value, std::optional<T>& into, const std::string& path,
                const Range& range, ReadContext context) {
  if (value.kind == ConfigValue::Kind::null) {
    into.reset();
    return;
  }
  T inner = into.value_or(T{});
  read_value(value, inner, path, range, context);
  into = std::move(inner);
}

template <class T>
void read_value(const ConfigValue& value, std::vector<T>& into, const std::string& path,
                const Range& range, ReadContext context) {
  if (value.kind != ConfigValue::Kind::list) {
    return context.problems.add(
        value.place, path,
        fmt::format("has to be a list, not {}{}", describe(value), list_hint(value.scalar)));
  }
  into.clear();
  for (size_t i = 0; i < value.items.size(); ++i) {
    const std::string item = fmt::format("{}[{}]", path, i);
    context.written.emplace(item, value.items[i].place);
    T entry{};
    if (value.items[i].kind != ConfigValue::Kind::refused) {
      read_value(value.items[i], entry, item, range, context);
    }
    into.push_back(std::move(entry));
  }
}

template <class T>
void read_value(const ConfigValue& value, std::map<std::string, T>& into, const std::string& path,
                const Range& range, ReadContext context) {
  if (value.kind != ConfigValue::Kind::map) {
    return context.problems.add(value.place, path,
                                fmt::format("has to be a map, not {}", describe(value)));
  }
  into.clear();
  for (const auto& [key, entry] : value.fields) {
    if (entry.kind == ConfigValue::Kind::refused) continue;
    context.written.emplace(path + "." + key, entry.place);
    read_value(entry, into[key], path + "." + key, range, context);
  }
}

template <class T>
void read_value(const ConfigValue& value, OneOrMore<T>& into, const std::string& path,
                const Range& range, ReadContext context) {
  if (value.kind != ConfigValue::Kind::scalar) {
    return read_value(value, into.values, path, range, context);
  }
  T one{};
  read_value(value, one, path, range, context);
  into.values = {one};
}

// As it is written.
template <class T>
void read_value(const ConfigValue& value, OrderedMap<T>& into, const std::string& path,
                const Range& range, ReadContext context) {
  std::map<std::string, T> values;
  read_value(value, values, path, range, context);
  into.clear();
  for (const auto& [key, ignored] : value.fields) {
    if (const auto read = values.find(key); read != values.end()) into.add(key, read->second);
  }
}

inline void read_value(const ConfigValue& value, StringOrList& into, const std::string& path,
                       const Range& range, ReadContext context) {
  if (value.kind == ConfigValue::Kind::list) {
    std::vector<std::string> list;
    read_value(value, list, path, range, context);
    into = std::move(list);
  } else if (is_scalar(value, path, "a text or a list", context)) {
    into = value.scalar;
  }
}

inline void read_value(const ConfigValue& value, JsonObject& into, const std::string& path,
                       const Range&, ReadContext context) {
  read_json_object(value, into, path, context.problems);
}

// Reads one map into one struct, field by field, and reports keys that no field took.
class StructReader {
 public:
  StructReader(const ConfigValue& value, std::string path, ReadContext context)
      : value_(value), path_(std::move(path)), context_(context) {}

  template <class T>
  void operator()(std::string_view name, T& member, std::string_view, const Range& range = {}) {
    names_.emplace_back(name);
    const ConfigValue* found = value_.find(name);
    if (found == nullptr || found->kind == ConfigValue::Kind::refused) return;
    const std::string path = path_.empty() ? names_.back() : path_ + "." + names_.back();
    context_.written.emplace(path, found->place);
    read_value(*found, member, path, range, context_);
  }

  void report_unknown_keys() const {
    for (const auto& [key, value] : value_.fields) {
      if (std::find(names_.begin(), names_.end(), key) != names_.end()) continue;
      const std::string path = path_.empty() ? key : path_ + "." + key;
      context_.problems.add_unknown(value.place, path,
                                    "there is no such setting" + setting_hint(path, names_));
    }
  }

 private:
  const ConfigValue& value_;
  std::string path_;
  ReadContext context_;
  std::vector<std::string> names_;
};

template <Described T>
void read_value(const ConfigValue& value, T& into, const std::string& path, const Range&,
                ReadContext context) {
  if (value.kind == ConfigValue::Kind::null && value.fields.empty()) return;  // `ppo:` alone
  if (value.kind != ConfigValue::Kind::map) {
    return context.problems.add(
        value.place, path, fmt::format("has to be a map of settings, not {}", describe(value)));
  }
  StructReader reader(value, path, context);
  visit_fields(into, reader);
  reader.report_unknown_keys();
}

template <Described T>
void read_config(const ConfigValue& value, T& into, Problems& problems, Written& written) {
  written.emplace("", value.place);
  read_value(value, into, "", {}, {problems, written});
}

}  // namespace leash

// How a configuration struct describes its own fields, once, for all that need to know them:
// reading YAML, printing the resolved file, `--help`, `--set a.b=c`, and the table in
// docs/configs.md.
//
// Beside each struct stands
//
//   template <class Config, class Visitor>
//     requires Describes<Config, LoraConfig>
//   void visit_fields(Config& c, Visitor&& visit) {
//     visit("r", c.r, "rank of the update", at_least(1));
//     visit("lora_dropout", c.lora_dropout, "…", within(0, 1));
//   }
//
// A visitor is called as visit(name, member, help) or visit(name, member, help, Range). Members may
// be bool, int64_t, double, std::string, std::filesystem::path (relative to the YAML's folder),
// ModelPath, an enum with EnumNames, StringOrList, std::optional of these (null in YAML), and
// std::vector and std::map<std::string, …> of these and of structs that have visit_fields.
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace leash {

// Allowed values of a number; the bounds themselves belong to it unless `open` says otherwise.
struct Range {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool min_open = false;
  bool max_open = false;
};
constexpr Range at_least(double min) { return {.min = min}; }
constexpr Range above(double min) { return {.min = min, .min_open = true}; }
constexpr Range within(double min, double max) { return {.min = min, .max = max}; }
constexpr Range from_below(double min, double max) {
  return {.min = min, .max = max, .max_open = true};
}

// Specialised beside each enum that a configuration uses: `static constexpr std::pair<E,
// std::string_view> values[] = {…};`
template <class E>
struct EnumNames;

template <class E>
concept NamedEnum = std::is_enum_v<E> && requires {
  EnumNames<E>::values;
};

// The name of a value, as the user writes it in YAML.
template <NamedEnum E>
constexpr std::string_view enum_name(E value) {
  for (const auto& [known, name] : EnumNames<E>::values) {
    if (known == value) return name;
  }
  return "?";
}

// Why there is no value of a name that people write elsewhere, where EnumNames has such pairs of
// name and reason as `refused`.
template <NamedEnum E>
constexpr std::optional<std::string_view> enum_refusal([[maybe_unused]] std::string_view written) {
  if constexpr (requires { EnumNames<E>::refused; }) {
    for (const auto& [name, reason] : EnumNames<E>::refused) {
      if (name == written) return reason;
    }
  }
  return std::nullopt;
}

// A model as the user names it: `smollm2`, or a path (relative to the YAML's folder).
struct ModelPath {
  std::string name{};

  ModelPath() = default;
  ModelPath(std::string text) : name(std::move(text)) {}  // NOLINT
  ModelPath(const char* text) : name(text) {}             // NOLINT
  operator const std::string&() const { return name; }    // NOLINT
  bool is_name() const { return name == "smollm2"; }
  bool operator==(const ModelPath&) const = default;
};

// `target_modules: all-linear` or `target_modules: [q_proj, v_proj]`.
using StringOrList = std::variant<std::string, std::vector<std::string>>;

template <class Config, class Plain>
concept Describes = std::same_as<std::remove_const_t<Config>, Plain>;

}  // namespace leash

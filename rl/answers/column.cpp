#include "rl/answers/column.h"

#include <fmt/format.h>

#include <string_view>

#include "models/errors.h"
#include "models/printable.h"

namespace leash {
namespace {

using OrderedJson = nlohmann::ordered_json;

[[noreturn]] void wrong_column(const std::string& name, std::string_view what) {
  throw FormatError(fmt::format("the column `{}` {}", printable(name), what));
}

const OrderedJson* find_column(const OrderedJson& row, std::string_view name) {
  if (!row.is_object()) return nullptr;
  if (const auto found = row.find(name); found != row.end()) return &*found;
  for (size_t dot = name.find('.'); dot != name.npos; dot = name.find('.', dot + 1)) {
    const auto outer = row.find(name.substr(0, dot));
    if (outer == row.end()) continue;
    if (const OrderedJson* found = find_column(*outer, name.substr(dot + 1))) return found;
  }
  return nullptr;
}

}  // namespace

const OrderedJson& column_of(const OrderedJson* row, const std::string& name) {
  const OrderedJson* found = row != nullptr ? find_column(*row, name) : nullptr;
  if (found == nullptr) wrong_column(name, "is missing");
  if (found->is_null()) wrong_column(name, "is null");
  return *found;
}

std::string column_text(const OrderedJson& value, const std::string& name) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() || value.is_boolean()) return value.dump();
  wrong_column(name, fmt::format("has to be a text, not {}", printable(value.dump(), 40)));
}

std::vector<std::string> column_texts(const OrderedJson& value, const std::string& name) {
  if (!value.is_array()) return {column_text(value, name)};
  if (value.empty()) wrong_column(name, "is an empty list");
  std::vector<std::string> texts;
  for (const OrderedJson& entry : value) texts.push_back(column_text(entry, name));
  return texts;
}

double column_number(const OrderedJson& value, const std::string& name) {
  if (value.is_number()) return value.get<double>();
  wrong_column(name, fmt::format("has to be a number, not {}", printable(value.dump(), 40)));
}

}  // namespace leash

#include "models/jinja/methods.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/jinja/runtime.h"

namespace leash::jinja {
namespace {

// What Python's types have and templates here do not get.
constexpr std::string_view kTextOthers[] = {"casefold",   "encode",    "expandtabs",
                                            "format_map", "maketrans", "translate"};
constexpr std::string_view kMarkupOthers[] = {"escape", "striptags", "unescape"};
constexpr std::string_view kIntOthers[] = {"as_integer_ratio", "bit_count",  "bit_length",
                                           "conjugate",        "from_bytes", "to_bytes"};
constexpr std::string_view kFloatOthers[] = {"as_integer_ratio", "conjugate", "fromhex", "hex",
                                             "is_integer"};

template <size_t n>
bool is_one_of(const std::string_view (&names)[n], std::string_view name) {
  return std::ranges::count(names, name) > 0;
}

bool is_unsupported(const Value& object, std::string_view name) {
  if (const Text* text = object.text()) {
    return is_one_of(kTextOthers, name) || (text->markup && is_one_of(kMarkupOthers, name));
  }
  if (object.integer()) return is_one_of(kIntOthers, name);
  if (object.is<double>()) return is_one_of(kFloatOthers, name);
  if (object.is<ViewPtr>()) return name == "mapping" || name == "isdisjoint";
  if (object.dict() != nullptr) return name == "fromkeys";
  if (const auto* iterator = object.get<IteratorPtr>()) {
    return (*iterator)->kind == "generator" &&
           (name == "send" || name == "throw" || name == "close" || name.starts_with("gi_"));
  }
  return false;
}

Value bound(std::string_view name, const Value& self, Method method) {
  return FunctionPtr(std::make_shared<Function>(Function{
      .name = std::string(name),
      .call = [self, method](
                  Runtime& runtime,
                  Arguments arguments) { return method(runtime, self, std::move(arguments)); },
      .nesting = nesting_of(self)}));
}

Value refusal(std::string_view name, const Value& self) {
  const std::string what =
      fmt::format("the method {} of {} is not supported", name, type_name(self));
  return FunctionPtr(std::make_shared<Function>(
      Function{.name = std::string(name),
               .call = [what](Runtime&, Arguments) -> Value { throw Failure(what); }}));
}

// Numbers have a few attributes that are no methods.
Value number_attribute(const Value& object, std::string_view name) {
  const bool whole = object.integer().has_value();
  const Value self = whole ? Value(*object.integer()) : object;
  if (name == "real" || (whole && name == "numerator")) return self;
  if (name == "imag") return whole ? Value(int64_t{0}) : Value(0.0);
  if (whole && name == "denominator") return int64_t{1};
  return {};
}

Value range_attribute(const Range& range, std::string_view name) {
  if (name == "start") return range.start;
  if (name == "stop") return range.stop;
  if (name == "step") return range.step;
  return {};
}

}  // namespace

Value method_of(const Value& object, std::string_view name) {
  if (is_unsupported(object, name)) return refusal(name, object);
  if (object.number()) return number_attribute(object, name);
  if (const auto* range = object.get<RangePtr>()) {
    Value value = range_attribute(**range, name);
    if (!value.missing()) return value;
  }
  Method method = nullptr;
  if (object.text() != nullptr) {
    method = text_method(name);
    if (method == nullptr) method = text_predicate(name);
  } else {
    method = container_method(object, name);
  }
  return method != nullptr ? bound(name, object, method) : Value();
}

}  // namespace leash::jinja

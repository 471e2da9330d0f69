// Jinja2's filters, by what they work on.
#pragma once

#include <string_view>

#include "models/jinja/value.h"

namespace leash::jinja {

// The value that is filtered is the first argument.
using Filter = Value (*)(Runtime& runtime, Arguments arguments);
// Null where there is none of that name.
Filter text_filter(std::string_view name);
Filter number_filter(std::string_view name);
Filter list_filter(std::string_view name);
Filter selecting_filter(std::string_view name);

// What `attribute=` of a filter gets from an item: parts between dots, numbers among them as such.
class AttributePath {
 public:
  explicit AttributePath(const Value& attribute);
  Value of(Runtime& runtime, Value item) const;
  // The same, `otherwise` in the place of each undefined part.
  Value of(Runtime& runtime, Value item, const Value& otherwise) const;

 private:
  std::vector<Value> parts_;
};

// Texts compare without their case where a filter is not case_sensitive.
Value ignoring_case(Runtime& runtime, const Value& value);

}  // namespace leash::jinja

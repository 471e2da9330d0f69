// json.dumps, as transformers makes it the filter tojson.
#pragma once

#include "models/jinja/value.h"

namespace leash::jinja {

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  bool indented = false;
  std::string indent;  // of one level
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

Text to_json(Runtime& runtime, const Value& value, const JsonStyle& style);

}  // namespace leash::jinja

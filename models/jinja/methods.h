// Methods of texts, lists and dicts.
#pragma once

#include <string_view>

#include "models/jinja/value.h"

namespace leash::jinja {

// The method as something to call; missing where Python has no such attribute. Calling one that
// Python has and that is not supported here is a Failure.
Value method_of(const Value& object, std::string_view name);

using Method = Value (*)(Runtime& runtime, const Value& self, Arguments arguments);
// Null where a text has none.
Method text_method(std::string_view name);
Method text_predicate(std::string_view name);
Method container_method(const Value& object, std::string_view name);

// What methods and filters share. `chars` is none for white space; `sides` is 1 for the left, 2 for
// the right, 3 for both.
Value strip_text(Runtime& runtime, const Text& text, const Value& chars, int sides);
Text replace_text(Runtime& runtime, const Text& text, const Text& old, const Text& with,
                  int64_t count);
// As str.lower and the like: what a user wrote stays marked, as a whole where lengths change.
Text map_text(Runtime& runtime, const Text& text, std::string (*map)(std::string_view));
Text capitalized(Runtime& runtime, const Text& text);
Text join_texts(Runtime& runtime, const Text& separator, const std::vector<Text>& parts);
Text centered(Runtime& runtime, const Text& text, int64_t width);

}  // namespace leash::jinja

// Python's ==, < and `in`.
#pragma once

#include <string>

#include "models/jinja/value.h"

namespace leash::jinja {

bool equal(Runtime& runtime, const Value& a, const Value& b);
// a < b. Failure where Python cannot order them.
bool less(Runtime& runtime, const Value& a, const Value& b);
// a <= b: Python asks another question, which differs for NaN.
bool less_equal(Runtime& runtime, const Value& a, const Value& b);
// part in whole
bool contains(Runtime& runtime, const Value& whole, const Value& part);
// The same text for values that are equal, as keys of a dict. Failure where Python cannot hash it.
std::string hash_key(Runtime& runtime, const Value& value);
bool can_hash(const Value& value);

}  // namespace leash::jinja

// Python's arithmetic.
#pragma once

#include "models/jinja/value.h"

namespace leash::jinja {

enum class Operator { add, subtract, multiply, divide, floor_divide, modulo, power };

// Failure where Python raises, and where an int does not fit 64 bits.
Value operate(Runtime& runtime, Operator op, const Value& a, const Value& b);
Value negate(const Value& value);
Value plus(const Value& value);

}  // namespace leash::jinja

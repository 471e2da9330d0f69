#include "models/jinja/operators.h"

#include <fmt/format.h>

#include <cmath>

#include "models/jinja/format.h"
#include "models/jinja/repr.h"
#include "models/jinja/runtime.h"

namespace leash::jinja {
namespace {

constexpr const char* kSigns[] = {"+", "-", "*", "/", "//", "%", "**"};

[[noreturn]] void cannot_operate(Operator op, const Value& a, const Value& b) {
  for (const Value* value : {&a, &b}) {
    if (const auto* undefined = value->get<UndefinedPtr>()) throw Failure((*undefined)->message);
  }
  throw Failure(fmt::format("unsupported operand type(s) for {}: '{}' and '{}'",
                            kSigns[static_cast<int>(op)], type_name(a), type_name(b)));
}

[[noreturn]] void too_large() { throw Failure("an integer does not fit 64 bits"); }

int64_t floor_quotient(int64_t a, int64_t b) {
  if (b == 0) throw Failure("integer division or modulo by zero");
  if (b == -1 && a == INT64_MIN) too_large();
  const int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

int64_t floor_remainder(int64_t a, int64_t b) {
  if (b == 0) throw Failure("integer division or modulo by zero");
  if (b == -1) return 0;
  const int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

Value power_of(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) throw Failure("0.0 cannot be raised to a negative power");
    return std::pow(static_cast<double>(base), static_cast<double>(exponent));
  }
  int64_t result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) too_large();
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) too_large();
  }
  return result;
}

Value operate_integers(Operator op, int64_t a, int64_t b) {
  int64_t result = 0;
  switch (op) {
    case Operator::add:
      if (__builtin_add_overflow(a, b, &result)) too_large();
      return result;
    case Operator::subtract:
      if (__builtin_sub_overflow(a, b, &result)) too_large();
      return result;
    case Operator::multiply:
      if (__builtin_mul_overflow(a, b, &result)) too_large();
      return result;
    case Operator::divide: {
      if (b == 0) throw Failure("division by zero");
      // The quotient of two int64 rounded once: long double holds both exactly, but its own
      // rounding would be a second one, so only what double holds exactly is divided.
      constexpr int64_t kExact = int64_t{1} << 53;
      if (a > kExact || a < -kExact || b > kExact || b < -kExact) too_large();
      return static_cast<double>(a) / static_cast<double>(b);
    }
    case Operator::floor_divide:
      return floor_quotient(a, b);
    case Operator::modulo:
      return floor_remainder(a, b);
    case Operator::power:
      return power_of(a, b);
  }
  return {};
}

double float_remainder(double a, double b) {
  if (b == 0) throw Failure("float modulo");
  double rest = std::fmod(a, b);
  if (rest != 0) {
    if ((b < 0) != (rest < 0)) rest += b;
  } else {
    rest = std::copysign(0.0, b);
  }
  return rest;
}

// As CPython divides: through the remainder, so that the two fit together.
double float_floor_quotient(double a, double b) {
  if (b == 0) throw Failure("float floor division by zero");
  double rest = std::fmod(a, b);
  double quotient = (a - rest) / b;
  if (rest != 0 && (b < 0) != (rest < 0)) quotient -= 1;
  if (quotient == 0) return std::copysign(0.0, a / b);
  const double floor = std::floor(quotient);
  return quotient - floor > 0.5 ? floor + 1 : floor;
}

double float_power(double a, double b) {
  if (a == 0 && b < 0) throw Failure("0.0 cannot be raised to a negative power");
  if (a < 0 && std::isfinite(a) && std::isfinite(b) && std::trunc(b) != b) {
    throw Failure("complex numbers are not supported");
  }
  const double result = std::pow(a, b);
  if (std::isinf(result) && std::isfinite(a) && std::isfinite(b)) {
    throw Failure("Numerical result out of range");
  }
  return result;
}

Value operate_floats(Operator op, double a, double b) {
  switch (op) {
    case Operator::add:
      return a + b;
    case Operator::subtract:
      return a - b;
    case Operator::multiply:
      return a * b;
    case Operator::divide:
      if (b == 0) throw Failure("float division by zero");
      return a / b;
    case Operator::floor_divide:
      return float_floor_quotient(a, b);
    case Operator::modulo:
      return float_remainder(a, b);
    case Operator::power:
      return float_power(a, b);
  }
  return {};
}

double to_double(const Value& value) {
  if (const auto whole = value.integer()) return static_cast<double>(*whole);
  return *value.get<double>();
}

// What is added to a Markup becomes one, escaped.
Value add_texts(Runtime& runtime, const Text& a, const Text& b) {
  runtime.budget.charge_bytes(a.bytes.size() + b.bytes.size());
  TextBuilder out;
  const bool markup = a.markup || b.markup;
  out.add(markup ? escape_html(a) : a);
  out.add(markup ? escape_html(b) : b);
  Text result = out.finish();
  result.markup = markup;
  return make_text(runtime, std::move(result));
}

Value add_sequences(Runtime& runtime, const Sequence& a, const Sequence& b) {
  runtime.budget.charge(std::ssize(a.items) + std::ssize(b.items));
  std::vector<Value> items = a.items;
  items.insert(items.end(), b.items.begin(), b.items.end());
  return a.tuple ? make_tuple(runtime, std::move(items)) : make_list(runtime, std::move(items));
}

Value repeat(Runtime& runtime, const Value& value, int64_t times) {
  times = std::max<int64_t>(times, 0);
  const auto size = value.text() != nullptr ? std::ssize(value.text()->bytes)
                                            : std::ssize(value.sequence()->items);
  int64_t total = 0;
  if (__builtin_mul_overflow(size, times, &total)) total = INT64_MAX;
  if (const Text* text = value.text()) {
    runtime.budget.charge(total / Budget::kBytes + 1);
    TextBuilder out;
    for (int64_t i = 0; i < times && size > 0; ++i) out.add(*text);
    Text result = out.finish();
    result.markup = text->markup;
    return make_text(runtime, std::move(result));
  }
  runtime.budget.charge(total);
  std::vector<Value> items;
  for (int64_t i = 0; i < times && size > 0; ++i) {
    items.insert(items.end(), value.sequence()->items.begin(), value.sequence()->items.end());
  }
  return value.sequence()->tuple ? make_tuple(runtime, std::move(items))
                                 : make_list(runtime, std::move(items));
}

bool repeatable(const Value& value) { return value.text() || value.sequence(); }

}  // namespace

Value operate(Runtime& runtime, Operator op, const Value& a, const Value& b) {
  if (a.undefined() || b.undefined()) cannot_operate(op, a, b);
  const auto ia = a.integer(), ib = b.integer();
  if (ia && ib) return operate_integers(op, *ia, *ib);
  if (a.number() && b.number()) return operate_floats(op, to_double(a), to_double(b));
  if (op == Operator::add) {
    if (a.text() && b.text()) return add_texts(runtime, *a.text(), *b.text());
    if (a.sequence() && b.sequence() && a.sequence()->tuple == b.sequence()->tuple) {
      return add_sequences(runtime, *a.sequence(), *b.sequence());
    }
  }
  if (op == Operator::multiply && repeatable(a) && ib) return repeat(runtime, a, *ib);
  if (op == Operator::multiply && repeatable(b) && ia) return repeat(runtime, b, *ia);
  if (op == Operator::modulo && a.text()) return format_percent(runtime, *a.text(), b);
  cannot_operate(op, a, b);
}

Value negate(const Value& value) {
  if (const auto whole = value.integer()) return operate_integers(Operator::subtract, 0, *whole);
  if (const auto* number = value.get<double>()) return -*number;
  if (const auto* undefined = value.get<UndefinedPtr>()) throw Failure((*undefined)->message);
  throw Failure(fmt::format("bad operand type for unary -: '{}'", type_name(value)));
}

Value plus(const Value& value) {
  if (const auto whole = value.integer()) return *whole;
  if (value.is<double>()) return value;
  if (const auto* undefined = value.get<UndefinedPtr>()) throw Failure((*undefined)->message);
  throw Failure(fmt::format("bad operand type for unary +: '{}'", type_name(value)));
}

}  // namespace leash::jinja

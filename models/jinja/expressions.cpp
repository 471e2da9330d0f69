// What expressions are worth.
#include <fmt/format.h>

#include "models/jinja/compare.h"
#include "models/jinja/interpreter.h"
#include "models/jinja/repr.h"

namespace leash::jinja {

Value Interpreter::evaluate(const Expression& e, const FramePtr& frame) {
  if (e.kind == Expression::Kind::constant) {
    runtime_.budget.charge(1);
    return e.constant;
  }
  const Deeper deeper(runtime_.budget);
  if (e.kind == Expression::Kind::name) return name(e, frame);
  const int line = std::exchange(runtime_.line, e.line);
  Value value = evaluate_node(e, frame);
  runtime_.line = line;
  return value;
}

bool Interpreter::holds(const Expression& e, const FramePtr& frame) {
  return truth(runtime_, evaluate(e, frame));
}

Value Interpreter::evaluate_node(const Expression& e, const FramePtr& frame) {
  using Kind = Expression::Kind;
  const auto part = [&](size_t i) { return evaluate(*e.parts[i], frame); };
  switch (e.kind) {
    case Kind::tuple:
      return make_tuple(runtime_, evaluate_all(e.parts, frame));
    case Kind::list:
      return make_list(runtime_, evaluate_all(e.parts, frame));
    case Kind::dict:
      return dict(e, frame);
    case Kind::attribute:
      return attribute(runtime_, part(0), e.name);
    case Kind::item: {
      const Value object = part(0);
      return item(runtime_, object, part(1));
    }
    case Kind::slice:
      return slice_of(e, frame);
    case Kind::call:
      return call_expression(e, frame, nullptr);
    case Kind::filter:
      return apply_filter(runtime_, e.name, arguments(e, frame));
    case Kind::test:
      return apply_test(runtime_, e.name, arguments(e, frame));
    case Kind::buffer:
      return buffer_ != nullptr ? make_text(runtime_, *buffer_) : Value(Text());
    case Kind::condition:
      if (holds(*e.parts[0], frame)) return part(1);
      return e.parts[2] != nullptr
                 ? part(2)
                 : undefined(
                       "the inline if-expression evaluated to false and no else section "
                       "was defined.");
    case Kind::logical_and: {
      Value left = part(0);
      return truth(runtime_, left) ? part(1) : left;
    }
    case Kind::logical_or: {
      Value left = part(0);
      return truth(runtime_, left) ? left : part(1);
    }
    case Kind::logical_not:
      return !holds(*e.parts[0], frame);
    case Kind::compare:
      return compare(e, frame);
    case Kind::arithmetic: {
      const Value left = part(0);
      return operate(runtime_, e.op, left, part(1));
    }
    case Kind::negative:
      return negate(part(0));
    case Kind::positive:
      return plus(part(0));
    case Kind::concat:
      return concat(e, frame);
    case Kind::constant:
    case Kind::name:
    case Kind::space_attribute:
      break;
  }
  return e.constant;
}

Value Interpreter::name(const Expression& e, const FramePtr& frame) {
  if (e.reference.slot >= 0) {
    const Value& value = at(e.reference, frame);
    if (!value.missing()) return value;
  }
  return undefined(fmt::format("'{}' is undefined", e.name));
}

std::vector<Value> Interpreter::evaluate_all(const std::vector<ExpressionPtr>& parts,
                                             const FramePtr& frame, size_t from) {
  std::vector<Value> values;
  for (size_t i = from; i < parts.size(); ++i) values.push_back(evaluate(*parts[i], frame));
  return values;
}

Value Interpreter::dict(const Expression& e, const FramePtr& frame) {
  std::vector<std::pair<Value, Value>> entries;
  for (size_t i = 0; i < e.parts.size(); i += 2) {
    Value key = evaluate(*e.parts[i], frame);
    entries.emplace_back(std::move(key), evaluate(*e.parts[i + 1], frame));
  }
  return make_dict(runtime_, std::move(entries));
}

Value Interpreter::slice_of(const Expression& e, const FramePtr& frame) {
  const Value object = evaluate(*e.parts[0], frame);
  const auto bound = [&](size_t i) {
    return e.parts[i] != nullptr ? evaluate(*e.parts[i], frame) : Value(None{});
  };
  const Value start = bound(1), stop = bound(2), step = bound(3);
  return slice(runtime_, object, start, stop, step);
}

// a < b < c asks about both pairs, and no further than it must.
Value Interpreter::compare(const Expression& e, const FramePtr& frame) {
  Value left = evaluate(*e.parts[0], frame);
  for (size_t i = 0; i < e.comparisons.size(); ++i) {
    Value right = evaluate(*e.parts[i + 1], frame);
    bool holds = false;
    switch (e.comparisons[i]) {
      case Comparison::equal:
        holds = equal(runtime_, left, right);
        break;
      case Comparison::unequal:
        holds = !equal(runtime_, left, right);
        break;
      case Comparison::less:
        holds = less(runtime_, left, right);
        break;
      case Comparison::less_equal:
        holds = less_equal(runtime_, left, right);
        break;
      case Comparison::greater:
        holds = less(runtime_, right, left);
        break;
      case Comparison::greater_equal:
        holds = less_equal(runtime_, right, left);
        break;
      case Comparison::in:
        holds = contains(runtime_, right, left);
        break;
      case Comparison::not_in:
        holds = !contains(runtime_, right, left);
        break;
    }
    if (!holds) return false;
    left = std::move(right);
  }
  return true;
}

Value Interpreter::concat(const Expression& e, const FramePtr& frame) {
  TextBuilder out;
  for (const Value& value : evaluate_all(e.parts, frame)) {
    const Text text = to_text(runtime_, value);
    out.add(text);
  }
  return make_text(runtime_, out.finish());
}

// Parts from the second on are arguments; a filter's and a test's value is the first.
Arguments Interpreter::arguments(const Expression& e, const FramePtr& frame) {
  Arguments all;
  all.positional = evaluate_all(e.parts, frame, e.kind == Expression::Kind::call ? 1 : 0);
  for (const auto& [key, value] : e.named) all.named.emplace_back(key, evaluate(*value, frame));
  if (e.star != nullptr) {
    for (Value& value : items_of(runtime_, evaluate(*e.star, frame))) {
      all.positional.push_back(std::move(value));
    }
  }
  if (e.double_star == nullptr) return all;
  const Value more = evaluate(*e.double_star, frame);
  if (more.dict() == nullptr) throw Failure("argument after ** must be a mapping");
  for (const auto& [key, value] : more.dict()->entries) {
    if (key.text() == nullptr) throw Failure("keywords must be strings");
    for (const auto& [other, ignored] : all.named) {
      if (other == key.text()->bytes)
        throw Failure("got multiple values for keyword argument '" + other + "'");
    }
    all.named.emplace_back(key.text()->bytes, value);
  }
  return all;
}

Value Interpreter::call_expression(const Expression& e, const FramePtr& frame,
                                   const Value* caller) {
  const Value callee = evaluate(*e.parts[0], frame);
  Arguments given = arguments(e, frame);
  if (caller != nullptr) given.named.emplace_back("caller", *caller);
  return call(runtime_, callee, std::move(given));
}

}  // namespace leash::jinja

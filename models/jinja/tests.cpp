// Jinja2's tests: what stands behind `is`.
#include <fmt/format.h>

#include <map>

#include "models/jinja/compare.h"
#include "models/jinja/methods.h"
#include "models/jinja/operators.h"
#include "models/jinja/repr.h"
#include "models/jinja/runtime.h"

namespace leash::jinja {
namespace {

using Test = bool (*)(Runtime& runtime, const std::vector<Value>& values);

struct TestRow {
  size_t arguments;  // the value included
  Test test;
};

bool is_odd(Runtime& runtime, const std::vector<Value>& v) {
  return equal(runtime, operate(runtime, Operator::modulo, v[0], int64_t{2}), int64_t{1});
}
bool is_even(Runtime& runtime, const std::vector<Value>& v) {
  return equal(runtime, operate(runtime, Operator::modulo, v[0], int64_t{2}), int64_t{0});
}
bool is_divisible(Runtime& runtime, const std::vector<Value>& v) {
  return equal(runtime, operate(runtime, Operator::modulo, v[0], v[1]), int64_t{0});
}
bool is_sequence(Runtime&, const std::vector<Value>& v) {
  return v[0].text() != nullptr || v[0].sequence() != nullptr || v[0].dict() != nullptr ||
         v[0].is<RangePtr>() || v[0].undefined();
}
bool is_callable(Runtime&, const std::vector<Value>& v) {
  return v[0].is<FunctionPtr>() || v[0].is<LoopPtr>() || v[0].undefined();
}
template <const char* method>
bool text_is(Runtime& runtime, const std::vector<Value>& v) {
  const Value text(to_text(runtime, v[0]));
  return truth(runtime, text_predicate(method)(runtime, text, {}));
}
bool is_same(Runtime& runtime, const std::vector<Value>& v) {
  const Value &a = v[0], &b = v[1];
  const auto same = [&]<class T>(const T* p) {
    return p != nullptr && b.is<T>() && *p == *b.get<T>();
  };
  if (a.is<bool>() || b.is<bool>()) return same(a.get<bool>());
  if (a.none() || b.none()) return a.none() && b.none();
  // Equal small numbers and texts are one object for Python, most of the time.
  if (a.number() && b.number()) return type_name(a) == type_name(b) && equal(runtime, a, b);
  if (a.text() != nullptr && b.text() != nullptr) return equal(runtime, a, b);
  return same(a.get<SequencePtr>()) || same(a.get<DictPtr>()) || same(a.get<ViewPtr>()) ||
         same(a.get<RangePtr>()) || same(a.get<IteratorPtr>()) || same(a.get<SpacePtr>()) ||
         same(a.get<FunctionPtr>()) || same(a.get<LoopPtr>()) || same(a.get<CyclerPtr>()) ||
         same(a.get<UndefinedPtr>());
}

// A name that is no text is none of theirs.
bool is_known(const Value& name, bool (*known)(const std::string&)) {
  if (name.text() == nullptr && !can_hash(name)) throw Failure("unhashable type");
  return name.text() != nullptr && known(name.text()->bytes);
}

constexpr char kIsLower[] = "islower";
constexpr char kIsUpper[] = "isupper";

#define LEASH_TEST(expression)                                \
  [](Runtime& runtime, const std::vector<Value>& v) -> bool { \
    (void)runtime;                                            \
    return expression;                                        \
  }

const std::map<std::string_view, TestRow>& tests() {
  static const TestRow kEqual = {2, LEASH_TEST(equal(runtime, v[0], v[1]))};
  static const TestRow kUnequal = {2, LEASH_TEST(!equal(runtime, v[0], v[1]))};
  static const TestRow kGreater = {2, LEASH_TEST(less(runtime, v[1], v[0]))};
  static const TestRow kGreaterEqual = {2, LEASH_TEST(less_equal(runtime, v[1], v[0]))};
  static const TestRow kLess = {2, LEASH_TEST(less(runtime, v[0], v[1]))};
  static const TestRow kLessEqual = {2, LEASH_TEST(less_equal(runtime, v[0], v[1]))};
  static const std::map<std::string_view, TestRow> kTests = {
      {"!=", kUnequal},
      {"<", kLess},
      {"<=", kLessEqual},
      {"==", kEqual},
      {">", kGreater},
      {">=", kGreaterEqual},
      {"boolean", {1, LEASH_TEST(v[0].is<bool>())}},
      {"callable", {1, is_callable}},
      {"defined", {1, LEASH_TEST(!v[0].undefined())}},
      {"divisibleby", {2, is_divisible}},
      {"eq", kEqual},
      {"equalto", kEqual},
      {"escaped", {1, LEASH_TEST(v[0].text() != nullptr && v[0].text()->markup)}},
      {"even", {1, is_even}},
      {"false", {1, LEASH_TEST(v[0].is<bool>() && !*v[0].get<bool>())}},
      {"filter", {1, LEASH_TEST(is_known(v[0], is_filter))}},
      {"float", {1, LEASH_TEST(v[0].is<double>())}},
      {"ge", kGreaterEqual},
      {"greaterthan", kGreater},
      {"gt", kGreater},
      {"in", {2, LEASH_TEST(contains(runtime, v[1], v[0]))}},
      {"integer", {1, LEASH_TEST(v[0].is<int64_t>())}},
      {"iterable", {1, LEASH_TEST(can_iterate(v[0]))}},
      {"le", kLessEqual},
      {"lessthan", kLess},
      {"lower", {1, text_is<kIsLower>}},
      {"lt", kLess},
      {"mapping", {1, LEASH_TEST(v[0].dict() != nullptr)}},
      {"ne", kUnequal},
      {"none", {1, LEASH_TEST(v[0].none())}},
      {"number", {1, LEASH_TEST(v[0].number())}},
      {"odd", {1, is_odd}},
      {"sameas", {2, is_same}},
      {"sequence", {1, is_sequence}},
      {"string", {1, LEASH_TEST(v[0].text() != nullptr)}},
      {"test", {1, LEASH_TEST(is_known(v[0], is_test))}},
      {"true", {1, LEASH_TEST(v[0].is<bool>() && *v[0].get<bool>())}},
      {"undefined", {1, LEASH_TEST(v[0].undefined())}},
      {"upper", {1, text_is<kIsUpper>}}};
  return kTests;
}

#undef LEASH_TEST

}  // namespace

bool is_test(const std::string& name) { return tests().contains(name); }

bool apply_test(Runtime& runtime, const std::string& name, Arguments arguments) {
  const Deeper deeper(runtime.budget);
  const auto found = tests().find(name);
  if (found == tests().end()) throw Failure(fmt::format("No test named '{}'.", name));
  const std::string other = name == "divisibleby" ? "num" : name == "in" ? "seq" : "other";
  std::vector<std::string> names = {"value"};
  if (found->second.arguments == 2) names.push_back(other);
  return found->second.test(runtime,
                            bind_arguments(name, std::move(arguments), names, names.size()));
}

}  // namespace leash::jinja

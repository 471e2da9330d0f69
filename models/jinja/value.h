// What a template computes with: Python's values, as Jinja2's immutable sandbox shows them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "models/jinja/text.h"

namespace leash::jinja {

struct Runtime;
class Value;

struct None {};
// What a name stands for that nothing defines: it prints as nothing, and most else fails with this.
struct Undefined {
  std::string message;
};
struct Sequence;
struct Dict;
struct View;
struct Range;
struct Iterator;
struct Space;
struct Function;
struct Loop;
struct Cycler;

using UndefinedPtr = std::shared_ptr<const Undefined>;
using TextPtr = std::shared_ptr<const Text>;
using SequencePtr = std::shared_ptr<const Sequence>;
using DictPtr = std::shared_ptr<const Dict>;
using ViewPtr = std::shared_ptr<const View>;
using RangePtr = std::shared_ptr<const Range>;
using IteratorPtr = std::shared_ptr<Iterator>;
using SpacePtr = std::shared_ptr<Space>;
using FunctionPtr = std::shared_ptr<const Function>;
using LoopPtr = std::shared_ptr<Loop>;
using CyclerPtr = std::shared_ptr<Cycler>;

class Value {
 public:
  Value() = default;  // missing: no value at all, not even undefined
  Value(None) : data_(None{}) {}
  template <class T>
  requires std::is_same_v<T, bool> Value(T truth) : data_(truth) {}
  Value(int64_t number) : data_(number) {}
  Value(double number) : data_(number) {}
  explicit Value(Text text);
  explicit Value(std::string text) : Value(Text(std::move(text))) {}
  explicit Value(const char* text) : Value(std::string(text)) {}
  Value(UndefinedPtr p) : data_(std::move(p)) {}
  Value(TextPtr p) : data_(std::move(p)) {}
  Value(SequencePtr p) : data_(std::move(p)) {}
  Value(DictPtr p) : data_(std::move(p)) {}
  Value(ViewPtr p) : data_(std::move(p)) {}
  Value(RangePtr p) : data_(std::move(p)) {}
  Value(IteratorPtr p) : data_(std::move(p)) {}
  Value(SpacePtr p) : data_(std::move(p)) {}
  Value(FunctionPtr p) : data_(std::move(p)) {}
  Value(LoopPtr p) : data_(std::move(p)) {}
  Value(CyclerPtr p) : data_(std::move(p)) {}

  template <class T>
  bool is() const {
    return std::holds_alternative<T>(data_);
  }
  // Null where the value is something else.
  template <class T>
  const T* get() const {
    return std::get_if<T>(&data_);
  }
  bool missing() const { return is<std::monostate>(); }
  bool undefined() const { return is<UndefinedPtr>(); }
  bool none() const { return is<None>(); }
  const Text* text() const { return is<TextPtr>() ? std::get<TextPtr>(data_).get() : nullptr; }
  const Dict* dict() const { return is<DictPtr>() ? std::get<DictPtr>(data_).get() : nullptr; }
  const Sequence* sequence() const {
    return is<SequencePtr>() ? std::get<SequencePtr>(data_).get() : nullptr;
  }
  // An int; a bool counts as one.
  std::optional<int64_t> integer() const;
  bool number() const { return is<bool>() || is<int64_t>() || is<double>(); }

 private:
  std::variant<std::monostate, None, bool, int64_t, double, UndefinedPtr, TextPtr, SequencePtr,
               DictPtr, ViewPtr, RangePtr, IteratorPtr, SpacePtr, FunctionPtr, LoopPtr, CyclerPtr>
      data_;
};

// A list or a tuple.
struct Sequence {
  std::vector<Value> items;
  bool tuple = false;
  int nesting = 1;
  bool group = false;  // what groupby gives: (grouper, list), by these names as well
};

// Keys in the order of their insertion.
struct Dict {
  std::vector<std::pair<Value, Value>> entries;
  std::unordered_map<std::string, size_t> places;  // by hash_key
  int nesting = 1;

  const Value* find(std::string_view text_key) const;
};

// What dict.keys(), values() and items() give.
struct View {
  enum class Part { keys, values, items };
  DictPtr dict;
  Part part = Part::keys;

  Value at(size_t index) const;
};

struct Range {
  int64_t start = 0, stop = 0, step = 1;
  int64_t size() const;
};

// What can be gone through once: generators, reversed(…).
struct Iterator {
  std::string kind;  // as Python's type is called
  std::function<std::optional<Value>(Runtime&)> next;
  int nesting = 1;
};

// namespace(): the only thing that a template can change.
struct Space {
  std::vector<std::pair<std::string, Value>> attributes;

  const Value* find(std::string_view name) const;
  void set(std::string_view name, Value value);
};

struct Arguments {
  std::vector<Value> positional = {};
  std::vector<std::pair<std::string, Value>> named = {};
};

struct Function {
  std::string name;
  std::function<Value(Runtime&, Arguments)> call;
  int nesting = 0;
  Value about = {};  // a macro's attributes, by name
};

// cycler(…)
struct Cycler {
  std::vector<Value> items;
  size_t at = 0;
  int nesting = 1;
};

// `loop` inside a for.
struct Loop {
  std::optional<int64_t> length;
  IteratorPtr items;
  int64_t index0 = -1;
  int64_t depth0 = 0;
  std::optional<Value> ahead;  // what was looked at already; a missing Value: there is none
  Value current, before, changed;
  std::function<Value(Runtime&, const Value& items, int64_t depth)> recurse;
  int nesting = 1;
};

Value undefined(std::string message);
Value make_list(Runtime& runtime, std::vector<Value> items);
Value make_tuple(Runtime& runtime, std::vector<Value> items);
// Of keys and values; a later key replaces an earlier one's value, in its place.
Value make_dict(Runtime& runtime, std::vector<std::pair<Value, Value>> entries);
// Counts what it takes.
Value make_text(Runtime& runtime, Text text);
Value make_text(Runtime& runtime, std::string text);
// Of a value, how many containers are inside each other; Failure where that is too many.
int nesting_of(const Value& value);
int nesting_around(const std::vector<Value>& items);

// Python's type(value).__name__.
std::string type_name(const Value& value);
bool truth(Runtime& runtime, const Value& value);
// len(value); none where it has no length.
std::optional<int64_t> length_of(Runtime& runtime, const Value& value);

// iter(value). Failure where Python has none.
IteratorPtr iterate(Runtime& runtime, const Value& value);
bool can_iterate(const Value& value);
std::vector<Value> items_of(Runtime& runtime, const Value& value);
Value make_iterator(std::string kind, int nesting,
                    std::function<std::optional<Value>(Runtime&)> next);

}  // namespace leash::jinja

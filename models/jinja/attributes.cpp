// object.name, object[key] and object[a:b:c] as the sandbox resolves them.
#include <fmt/format.h>

#include <algorithm>

#include "models/jinja/compare.h"
#include "models/jinja/loop.h"
#include "models/jinja/methods.h"
#include "models/jinja/runtime.h"

namespace leash::jinja {
namespace {

constexpr int64_t kMostOfRange = int64_t{1} << 57;
constexpr std::string_view kUnsafeList[] = {"append", "clear", "pop",    "reverse",
                                            "insert", "sort",  "extend", "remove"};
constexpr std::string_view kUnsafeDict[] = {"clear", "pop", "popitem", "setdefault", "update"};

bool is_unsafe(const Value& object, std::string_view name) {
  if (name.starts_with('_')) return true;
  if (object.dict() != nullptr) return std::ranges::count(kUnsafeDict, name) > 0;
  const Sequence* sequence = object.sequence();
  return sequence != nullptr && !sequence->tuple && std::ranges::count(kUnsafeList, name) > 0;
}

// What Python has under a name that begins with an underscore is never shown; which names those
// are makes no difference, for the rest is undefined as well.
Value unsafe(const Value& object, std::string_view name) {
  return undefined(
      fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, type_name(object)));
}

Value no_attribute(const Value& object, std::string_view name) {
  return undefined(fmt::format("'{} object' has no attribute '{}'", type_name(object), name));
}

void check_defined(const Value& object) {
  if (const auto* undefined = object.get<UndefinedPtr>()) throw Failure((*undefined)->message);
}

// Python's own attribute; missing where there is none.
Value own_attribute(Runtime& runtime, const Value& object, std::string_view name) {
  if (const auto* space = object.get<SpacePtr>()) {
    const Value* found = (*space)->find(name);
    return found != nullptr ? *found : Value();
  }
  if (const auto* loop = object.get<LoopPtr>()) return loop_attribute(runtime, *loop, name);
  if (const auto* cycler = object.get<CyclerPtr>()) return cycler_attribute(*cycler, name);
  if (const auto* function = object.get<FunctionPtr>()) {
    const Dict* about = (*function)->about.dict();
    const Value* found = about != nullptr ? about->find(name) : nullptr;
    return found != nullptr ? *found : Value();
  }
  if (const Sequence* pair = object.sequence(); pair != nullptr && pair->group) {
    if (name == "grouper") return pair->items[0];
    if (name == "list") return pair->items[1];
  }
  return method_of(object, name);
}

// object[key]; missing where Python has a TypeError or LookupError.
Value own_item(Runtime& runtime, const Value& object, const Value& key) {
  if (const Dict* dict = object.dict()) {
    if (!can_hash(key)) return {};
    const auto found = dict->places.find(hash_key(runtime, key));
    return found == dict->places.end() ? Value() : dict->entries[found->second].second;
  }
  const auto index = key.integer();
  if (!index) return {};
  const auto at = [&](int64_t size) -> std::optional<int64_t> {
    const int64_t place = *index < 0 ? *index + size : *index;
    return place >= 0 && place < size ? std::optional(place) : std::nullopt;
  };
  if (const Sequence* sequence = object.sequence()) {
    const auto place = at(std::ssize(sequence->items));
    return place ? sequence->items[static_cast<size_t>(*place)] : Value();
  }
  if (const Text* text = object.text()) {
    const auto place = at(text->length);
    if (!place) return {};
    if (!text->ascii()) runtime.budget.charge_bytes(text->bytes.size());
    const size_t begin = text->offset(*place);
    size_t end = begin;
    next_char(text->bytes, end);
    return make_text(runtime, text->part(begin, end));
  }
  if (const auto* range = object.get<RangePtr>()) {
    const auto place = at((*range)->size());
    return place ? Value((*range)->start + *place * (*range)->step) : Value();
  }
  return {};
}

// slice.indices: which entries of `size`.
Range slice_range(const Value& start, const Value& stop, const Value& step, int64_t size) {
  const auto whole = [](const Value& value) {
    const auto number = value.integer();
    if (!value.none() && !number) {
      throw Failure("slice indices must be integers or None or have an __index__ method");
    }
    return number;
  };
  const int64_t by = whole(step).value_or(1);
  if (by == 0) throw Failure("slice step cannot be zero");
  const int64_t lower = by < 0 ? -1 : 0, upper = by < 0 ? size - 1 : size;
  const auto bound = [&](const Value& value, int64_t otherwise) {
    const auto number = whole(value);
    if (!number) return otherwise;
    return std::clamp(*number < 0 ? std::max(*number, -size - 1) + size : *number, lower, upper);
  };
  return {.start = bound(start, by < 0 ? upper : lower),
          .stop = bound(stop, by < 0 ? lower : upper),
          .step = std::clamp(by, -size - 1, size + 1)};
}

Value text_slice(Runtime& runtime, const Text& text, const Range& part) {
  runtime.budget.charge_bytes(text.bytes.size());
  const int64_t size = part.size();
  if (part.step == 1 || size == 0) {
    const size_t begin = size == 0 ? 0 : text.offset(part.start);
    const size_t end = size == 0 ? 0 : text.offset(part.stop);
    return make_text(runtime, text.part(begin, end));
  }
  std::vector<size_t> begins;
  for (size_t at = 0; at < text.bytes.size(); next_char(text.bytes, at)) begins.push_back(at);
  begins.push_back(text.bytes.size());
  runtime.budget.charge(text.length / 8 + size);
  TextBuilder out;
  for (int64_t i = 0; i < size; ++i) {
    const auto at = static_cast<size_t>(part.start + i * part.step);
    out.add(text, begins[at], begins[at + 1]);
  }
  Text result = out.finish();
  result.markup = text.markup;
  return make_text(runtime, std::move(result));
}

}  // namespace

Value attribute(Runtime& runtime, const Value& object, std::string_view name) {
  check_defined(object);
  if (is_unsafe(object, name)) {
    // A dict may have an entry of that name; Python looks for the method first.
    const bool method = !name.starts_with('_') || name.starts_with("__");
    const Dict* dict = object.dict();
    const Value* found = dict != nullptr && !method ? dict->find(name) : nullptr;
    return found != nullptr ? *found : unsafe(object, name);
  }
  Value value = own_attribute(runtime, object, name);
  if (value.missing()) value = own_item(runtime, object, Value(std::string(name)));
  return value.missing() ? no_attribute(object, name) : value;
}

Value item(Runtime& runtime, const Value& object, const Value& key) {
  check_defined(object);
  Value value = own_item(runtime, object, key);
  if (!value.missing()) return value;
  if (const Text* name = key.text()) {
    if (is_unsafe(object, name->bytes)) return unsafe(object, name->bytes);
    value = own_attribute(runtime, object, name->bytes);
    if (!value.missing()) return value;
    return no_attribute(object, name->bytes);
  }
  return undefined(fmt::format("{} object has no such element", type_name(object)));
}

Value slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
            const Value& step) {
  check_defined(object);
  if (const Text* text = object.text()) {
    return text_slice(runtime, *text, slice_range(start, stop, step, text->length));
  }
  if (const Sequence* sequence = object.sequence()) {
    const Range part = slice_range(start, stop, step, std::ssize(sequence->items));
    std::vector<Value> items;
    runtime.budget.charge(part.size());
    for (int64_t i = 0; i < part.size(); ++i) {
      items.push_back(sequence->items[static_cast<size_t>(part.start + i * part.step)]);
    }
    return sequence->tuple ? make_tuple(runtime, std::move(items))
                           : make_list(runtime, std::move(items));
  }
  if (const auto* range = object.get<RangePtr>()) {
    const Range part = slice_range(start, stop, step, (*range)->size());
    const Range& whole = **range;
    Range result{.start = whole.start + part.start * whole.step,
                 .stop = whole.start + part.stop * whole.step};
    // Slices of slices make the step grow without end.
    if (__builtin_mul_overflow(whole.step, part.step, &result.step) ||
        std::abs(result.step) > kMostOfRange) {
      throw Failure("the step of a range is too large");
    }
    return RangePtr(std::make_shared<Range>(result));
  }
  throw Failure(fmt::format("'{}' object is not subscriptable by a slice", type_name(object)));
}

Value call(Runtime& runtime, const Value& callee, Arguments arguments) {
  check_defined(callee);
  const Deeper deeper(runtime.budget);
  if (const auto* function = callee.get<FunctionPtr>()) {
    return (*function)->call(runtime, std::move(arguments));
  }
  if (const auto* loop = callee.get<LoopPtr>()) {
    if ((*loop)->recurse == nullptr) {
      throw Failure("The loop must have the 'recursive' marker to be called recursively.");
    }
    const auto values = bind_arguments("loop", std::move(arguments), {"iterable"}, 1);
    return (*loop)->recurse(runtime, values[0], (*loop)->depth0 + 1);
  }
  throw Failure(fmt::format("'{}' object is not callable", type_name(callee)));
}

std::vector<Value> bind_arguments(const std::string& function, Arguments arguments,
                                  const std::vector<std::string>& names, size_t required) {
  if (arguments.positional.size() > names.size()) {
    throw Failure(fmt::format("{}() takes at most {} arguments ({} given)", function, names.size(),
                              arguments.positional.size()));
  }
  std::vector<Value> values = std::move(arguments.positional);
  values.resize(names.size());
  for (auto& [name, value] : arguments.named) {
    const auto found = std::ranges::find(names, name);
    if (found == names.end()) {
      throw Failure(fmt::format("{}() got an unexpected keyword argument '{}'", function, name));
    }
    Value& place = values[static_cast<size_t>(found - names.begin())];
    if (!place.missing()) {
      throw Failure(fmt::format("{}() got multiple values for argument '{}'", function, name));
    }
    place = std::move(value);
  }
  for (size_t i = 0; i < required; ++i) {
    if (!values[i].missing()) continue;
    throw Failure(fmt::format("{}() is missing the argument '{}'", function, names[i]));
  }
  return values;
}

int64_t int_argument(const std::string& function, const Value& value) {
  check_defined(value);
  if (const auto number = value.integer()) return *number;
  throw Failure(fmt::format("{}(): '{}' object cannot be interpreted as an integer", function,
                            type_name(value)));
}

const Text& text_argument(const std::string& function, const Value& value) {
  if (const Text* text = value.text()) return *text;
  throw Failure(fmt::format("{}() argument must be str, not {}", function, type_name(value)));
}

}  // namespace leash::jinja

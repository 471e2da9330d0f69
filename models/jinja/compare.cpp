#include "models/jinja/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "models/jinja/runtime.h"

namespace leash::jinja {
namespace {

// Of two numbers, exactly; unordered for NaN.
std::partial_ordering order_numbers(const Value& a, const Value& b) {
  const auto ia = a.integer(), ib = b.integer();
  if (ia && ib) return *ia <=> *ib;
  // 64 bits of mantissa hold every int64 and every double.
  static_assert(std::numeric_limits<long double>::digits >= 64);
  const long double da = ia ? static_cast<long double>(*ia) : *a.get<double>();
  const long double db = ib ? static_cast<long double>(*ib) : *b.get<double>();
  return da <=> db;
}

bool equal_items(Runtime& runtime, const std::vector<Value>& a, const std::vector<Value>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!equal(runtime, a[i], b[i])) return false;
  }
  return true;
}

bool equal_dicts(Runtime& runtime, const Dict& a, const Dict& b) {
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& [key, place] : a.places) {
    const auto found = b.places.find(key);
    if (found == b.places.end()) return false;
    if (!equal(runtime, a.entries[place].second, b.entries[found->second].second)) return false;
  }
  return true;
}

// As sets, which views of keys and of items are.
bool equal_views(Runtime& runtime, const View& a, const View& b) {
  if (a.part == View::Part::values || b.part == View::Part::values) return &a == &b;
  const size_t size = a.dict->entries.size();
  if (size != b.dict->entries.size()) return false;
  for (size_t i = 0; i < size; ++i) {
    bool found = false;
    for (size_t j = 0; j < size && !found; ++j) found = equal(runtime, a.at(i), b.at(j));
    if (!found) return false;
  }
  return true;
}

bool equal_ranges(const Range& a, const Range& b) {
  if (a.size() != b.size()) return false;
  if (a.size() == 0) return true;
  return a.start == b.start && (a.size() == 1 || a.step == b.step);
}

[[noreturn]] void cannot_order(const Value& a, const Value& b, const char* sign) {
  for (const Value* value : {&a, &b}) {
    if (const auto* undefined = value->get<UndefinedPtr>()) throw Failure((*undefined)->message);
  }
  throw Failure(fmt::format("'{}' not supported between instances of '{}' and '{}'", sign,
                            type_name(a), type_name(b)));
}

bool ordered(Runtime& runtime, const Value& a, const Value& b, bool or_equal) {
  const char* sign = or_equal ? "<=" : "<";
  if (a.number() && b.number()) {
    const auto order = order_numbers(a, b);
    return or_equal ? order <= 0 : order < 0;
  }
  const Text *text_a = a.text(), *text_b = b.text();
  if (text_a != nullptr && text_b != nullptr) {
    runtime.budget.charge_bytes(std::min(text_a->bytes.size(), text_b->bytes.size()));
    // UTF-8 sorts as its code points do.
    const int order = text_a->bytes.compare(text_b->bytes);
    return or_equal ? order <= 0 : order < 0;
  }
  const Sequence *list_a = a.sequence(), *list_b = b.sequence();
  if (list_a == nullptr || list_b == nullptr || list_a->tuple != list_b->tuple) {
    cannot_order(a, b, sign);
  }
  for (size_t i = 0; i < list_a->items.size() && i < list_b->items.size(); ++i) {
    if (equal(runtime, list_a->items[i], list_b->items[i])) continue;
    return ordered(runtime, list_a->items[i], list_b->items[i], or_equal);
  }
  return or_equal ? list_a->items.size() <= list_b->items.size()
                  : list_a->items.size() < list_b->items.size();
}

// Python compares by identity first, so that a NaN is in a list that holds it; a template has no
// other way to see the difference.
bool among(Runtime& runtime, const Value& whole, const Value& part) {
  const IteratorPtr items = iterate(runtime, whole);
  while (const auto item = items->next(runtime)) {
    if (equal(runtime, *item, part)) return true;
  }
  return false;
}

}  // namespace

bool equal(Runtime& runtime, const Value& a, const Value& b) {
  const Deeper deeper(runtime.budget);
  if (a.undefined() || b.undefined()) return a.undefined() && b.undefined();
  if (a.none() || b.none()) return a.none() && b.none();
  if (a.number() && b.number()) return order_numbers(a, b) == 0;
  if (a.text() != nullptr && b.text() != nullptr) {
    runtime.budget.charge_bytes(std::min(a.text()->bytes.size(), b.text()->bytes.size()));
    return a.text()->bytes == b.text()->bytes;
  }
  if (a.sequence() != nullptr && b.sequence() != nullptr) {
    return a.sequence()->tuple == b.sequence()->tuple &&
           equal_items(runtime, a.sequence()->items, b.sequence()->items);
  }
  if (a.dict() != nullptr && b.dict() != nullptr) return equal_dicts(runtime, *a.dict(), *b.dict());
  if (a.is<ViewPtr>() && b.is<ViewPtr>()) {
    return equal_views(runtime, **a.get<ViewPtr>(), **b.get<ViewPtr>());
  }
  if (a.is<RangePtr>() && b.is<RangePtr>()) {
    return equal_ranges(**a.get<RangePtr>(), **b.get<RangePtr>());
  }
  const auto same = [&]<class T>(const T*) {
    return a.is<T>() && b.is<T>() && *a.get<T>() == *b.get<T>();
  };
  return same(a.get<IteratorPtr>()) || same(a.get<SpacePtr>()) || same(a.get<FunctionPtr>()) ||
         same(a.get<LoopPtr>()) || same(a.get<CyclerPtr>());
}

bool less(Runtime& runtime, const Value& a, const Value& b) {
  const Deeper deeper(runtime.budget);
  return ordered(runtime, a, b, false);
}

bool less_equal(Runtime& runtime, const Value& a, const Value& b) {
  const Deeper deeper(runtime.budget);
  return ordered(runtime, a, b, true);
}

bool contains(Runtime& runtime, const Value& whole, const Value& part) {
  if (const Text* text = whole.text()) {
    if (part.text() == nullptr) {
      throw Failure(
          fmt::format("'in <string>' requires string as left operand, not {}", type_name(part)));
    }
    runtime.budget.charge_bytes(text->bytes.size());
    return find_part(text->bytes, part.text()->bytes, 0) != std::string_view::npos;
  }
  const Dict* dict = whole.dict();
  if (const auto* view = whole.get<ViewPtr>(); view && (*view)->part == View::Part::keys) {
    dict = (*view)->dict.get();
  }
  if (dict != nullptr) return dict->places.contains(hash_key(runtime, part));
  if (const auto* range = whole.get<RangePtr>(); range != nullptr && part.integer()) {
    int64_t away = 0;
    if (__builtin_sub_overflow(*part.integer(), (*range)->start, &away)) return false;
    const int64_t steps = away / (*range)->step;
    return away % (*range)->step == 0 && steps >= 0 && steps < (*range)->size();
  }
  return among(runtime, whole, part);
}

bool can_hash(const Value& value) {
  if (const Sequence* sequence = value.sequence()) {
    return sequence->tuple && std::ranges::all_of(sequence->items, can_hash);
  }
  return value.dict() == nullptr && !value.is<ViewPtr>();
}

std::string hash_key(Runtime& runtime, const Value& value) {
  if (const Text* text = value.text()) {
    runtime.budget.charge_bytes(text->bytes.size());
    return "s" + text->bytes;
  }
  if (const auto number = value.integer()) return fmt::format("i{}", *number);
  if (const auto* number = value.get<double>()) {
    const bool whole = std::trunc(*number) == *number && std::abs(*number) < 0x1p63;
    return whole ? fmt::format("i{}", static_cast<int64_t>(*number)) : fmt::format("f{}", *number);
  }
  if (value.none()) return "n";
  if (value.undefined()) return "u";
  if (const Sequence* sequence = value.sequence(); sequence != nullptr && sequence->tuple) {
    std::string key = "(";
    for (const Value& item : sequence->items) {
      const std::string part = hash_key(runtime, item);
      key += fmt::format("{}:{},", part.size(), part);
    }
    runtime.budget.charge_bytes(key.size());
    return key;
  }
  if (!can_hash(value)) throw Failure(fmt::format("unhashable type: '{}'", type_name(value)));
  if (const auto* range = value.get<RangePtr>()) {
    const Range& r = **range;
    return fmt::format("r{} {} {}", r.size(), r.size() > 0 ? r.start : 0,
                       r.size() > 1 ? r.step : 0);
  }
  const void* address = nullptr;
  const auto take = [&]<class T>(const T* p) { address = p != nullptr ? p->get() : address; };
  take(value.get<IteratorPtr>());
  take(value.get<SpacePtr>());
  take(value.get<FunctionPtr>());
  take(value.get<LoopPtr>());
  take(value.get<CyclerPtr>());
  return fmt::format("p{}", address);
}

}  // namespace leash::jinja

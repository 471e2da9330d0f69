// Filters that order, group and take from lists and dicts.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "models/jinja/compare.h"
#include "models/jinja/filters.h"
#include "models/jinja/methods.h"
#include "models/jinja/operators.h"
#include "models/jinja/repr.h"
#include "models/jinja/runtime.h"

namespace leash::jinja {
namespace {

bool is_given(const Value& value) { return !value.missing() && !value.none(); }
bool is_yes(Runtime& runtime, const Value& value) {
  return !value.missing() && truth(runtime, value);
}

Value filter_default(Runtime& runtime, Arguments arguments) {
  auto values =
      bind_arguments("default", std::move(arguments), {"value", "default_value", "boolean"}, 1);
  const bool boolean = is_yes(runtime, values[2]);
  if (!values[0].undefined() && !(boolean && !truth(runtime, values[0]))) return values[0];
  return values[1].missing() ? make_text(runtime, Text()) : values[1];
}

Value filter_length(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("length", std::move(arguments), {"value"}, 1);
  if (const auto length = length_of(runtime, values[0])) return *length;
  throw Failure(fmt::format("object of type '{}' has no len()", type_name(values[0])));
}

Value filter_list(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("list", std::move(arguments), {"value"}, 1);
  return make_list(runtime, items_of(runtime, values[0]));
}

Value filter_first(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("first", std::move(arguments), {"seq"}, 1);
  const auto first = iterate(runtime, values[0])->next(runtime);
  return first ? *first : undefined("No first item, sequence was empty.");
}

bool reversible(const Value& value) {
  return value.sequence() != nullptr || value.dict() != nullptr || value.is<ViewPtr>() ||
         value.is<RangePtr>() || value.text() != nullptr;
}

Value filter_last(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("last", std::move(arguments), {"seq"}, 1);
  // reversed() takes an undefined for an empty sequence, until it asks for its items.
  if (values[0].undefined()) return undefined("No last item, sequence was empty.");
  if (!reversible(values[0])) {
    throw Failure(fmt::format("'{}' object is not reversible", type_name(values[0])));
  }
  const std::vector<Value> items = items_of(runtime, values[0]);
  return items.empty() ? undefined("No last item, sequence was empty.") : items.back();
}

Value filter_reverse(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("reverse", std::move(arguments), {"value"}, 1);
  std::vector<Value> items = items_of(runtime, values[0]);
  std::ranges::reverse(items);
  if (const Text* text = values[0].text()) {
    std::vector<Text> chars;
    for (const Value& item : items) chars.push_back(*item.text());
    Text result = join_texts(runtime, Text(), chars);
    result.markup = text->markup;
    return make_text(runtime, std::move(result));
  }
  const Value list = make_list(runtime, std::move(items));
  if (!reversible(values[0]) && !values[0].undefined()) return list;
  return make_iterator("list_reverseiterator", nesting_of(list),
                       [source = iterate(runtime, list)](Runtime& r) { return source->next(r); });
}

// Python's sorted: stable, `reverse` keeps the order of equals.
template <class Item, class Key>
void sort_by(Runtime& runtime, std::vector<Item>& items, bool reverse, const Key& key) {
  std::vector<std::pair<Value, Item>> keyed;
  for (Item& item : items) keyed.emplace_back(key(item), std::move(item));
  const auto before = [&](const auto& a, const auto& b) {
    runtime.budget.charge(1);
    return less(runtime, a.first, b.first);
  };
  if (reverse) std::ranges::reverse(keyed);
  std::stable_sort(keyed.begin(), keyed.end(), before);
  if (reverse) std::ranges::reverse(keyed);
  for (size_t i = 0; i < items.size(); ++i) items[i] = std::move(keyed[i].second);
}

// The key of `attribute`, which may name several between commas.
Value sort_key(Runtime& runtime, const Value& item, const std::vector<AttributePath>& paths,
               bool case_sensitive) {
  std::vector<Value> parts;
  for (const AttributePath& path : paths) {
    const Value part = path.of(runtime, item);
    parts.push_back(case_sensitive ? part : ignoring_case(runtime, part));
  }
  return make_list(runtime, std::move(parts));
}

Value filter_sort(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("sort", std::move(arguments),
                                     {"value", "reverse", "case_sensitive", "attribute"}, 1);
  std::vector<AttributePath> paths;
  if (const Text* text = values[3].text()) {
    size_t begin = 0;
    for (size_t at = 0; at <= text->bytes.size(); ++at) {
      if (at < text->bytes.size() && text->bytes[at] != ',') continue;
      paths.emplace_back(Value(text->bytes.substr(begin, at - begin)));
      begin = at + 1;
    }
  } else {
    paths.emplace_back(values[3].missing() ? Value(None{}) : values[3]);
  }
  std::vector<Value> items = items_of(runtime, values[0]);
  const bool exact = is_yes(runtime, values[2]);
  sort_by(runtime, items, is_yes(runtime, values[1]),
          [&](const Value& item) { return sort_key(runtime, item, paths, exact); });
  return make_list(runtime, std::move(items));
}

Value filter_dict_sort(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("dictsort", std::move(arguments),
                                     {"value", "case_sensitive", "by", "reverse"}, 1);
  const std::string by = values[2].missing() ? "key" : to_text(runtime, values[2]).bytes;
  if (by != "key" && by != "value") {
    throw Failure("You can only sort by either \"key\" or \"value\"");
  }
  if (values[0].dict() == nullptr) throw Failure("dictsort needs a dict");
  const bool exact = is_yes(runtime, values[1]);
  auto entries = values[0].dict()->entries;
  sort_by(runtime, entries, is_yes(runtime, values[3]), [&](const auto& entry) {
    const Value& key = by == "key" ? entry.first : entry.second;
    return exact ? key : ignoring_case(runtime, key);
  });
  std::vector<Value> pairs;
  for (auto& [key, value] : entries) pairs.push_back(make_tuple(runtime, {key, value}));
  return make_list(runtime, std::move(pairs));
}

Value filter_unique(Runtime& runtime, Arguments arguments) {
  const auto values =
      bind_arguments("unique", std::move(arguments), {"value", "case_sensitive", "attribute"}, 1);
  const bool exact = is_yes(runtime, values[1]);
  const AttributePath path(values[2].missing() ? Value(None{}) : values[2]);
  return make_iterator("generator", nesting_of(values[0]),
                       [items = values[0], source = IteratorPtr(), seen = std::set<std::string>(),
                        exact, path](Runtime& r) mutable -> std::optional<Value> {
                         if (source == nullptr) source = iterate(r, items);
                         while (auto item = source->next(r)) {
                           const Value key = path.of(r, *item);
                           if (seen.insert(hash_key(r, exact ? key : ignoring_case(r, key))).second)
                             return item;
                         }
                         return std::nullopt;
                       });
}

template <bool largest>
Value filter_extreme(Runtime& runtime, Arguments arguments) {
  const auto values =
      bind_arguments("min", std::move(arguments), {"value", "case_sensitive", "attribute"}, 1);
  const bool exact = is_yes(runtime, values[1]);
  const AttributePath path(values[2].missing() ? Value(None{}) : values[2]);
  Value best, best_key;
  for (const Value& item : items_of(runtime, values[0])) {
    Value key = path.of(runtime, item);
    if (!exact) key = ignoring_case(runtime, key);
    const bool better =
        best.missing() || (largest ? less(runtime, best_key, key) : less(runtime, key, best_key));
    if (!better) continue;
    best = item;
    best_key = key;
  }
  return best.missing() ? undefined("No aggregated item, sequence was empty.") : best;
}

Value filter_sum(Runtime& runtime, Arguments arguments) {
  const auto values =
      bind_arguments("sum", std::move(arguments), {"iterable", "attribute", "start"}, 1);
  const AttributePath path(is_given(values[1]) ? values[1] : Value(None{}));
  Value sum = values[2].missing() ? Value(int64_t{0}) : values[2];
  if (sum.text() != nullptr) throw Failure("sum() can't sum strings [use ''.join(seq) instead]");
  for (const Value& item : items_of(runtime, values[0])) {
    sum = operate(runtime, Operator::add, sum, path.of(runtime, item));
  }
  return sum;
}

// Rows of `size` items, the last one filled up.
struct Batches {
  Value items, count, fill;
  IteratorPtr source = {};
  std::optional<Value> ahead = {};
  bool first = true, ended = false;

  std::optional<Value> next(Runtime& runtime) {
    if (source == nullptr) source = iterate(runtime, items);
    std::vector<Value> row;
    const int64_t size = int_argument("batch", count);
    while (!ended && (std::ssize(row) != size || row.empty())) {
      auto item = ahead ? std::exchange(ahead, std::nullopt) : source->next(runtime);
      ended = !item;
      if (!item) break;
      // Of rows without items Python gives one, and then all the rest in another.
      if (size == 0 && std::exchange(first, false)) {
        ahead = std::move(item);
        return make_list(runtime, {});
      }
      row.push_back(std::move(*item));
    }
    if (row.empty()) return std::nullopt;
    if (ended && is_given(fill)) {
      runtime.budget.charge(std::max<int64_t>(size - std::ssize(row), 0));
      while (std::ssize(row) < size) row.push_back(fill);
    }
    return make_list(runtime, std::move(row));
  }
};

Value filter_batch(Runtime&, Arguments arguments) {
  const auto values =
      bind_arguments("batch", std::move(arguments), {"value", "linecount", "fill_with"}, 2);
  Batches batches{.items = values[0], .count = values[1], .fill = values[2]};
  return make_iterator("generator", std::max(nesting_of(values[0]), nesting_of(values[2])) + 1,
                       [batches](Runtime& r) mutable { return batches.next(r); });
}

std::vector<Value> slice_rows(Runtime& runtime, const std::vector<Value>& values) {
  const std::vector<Value> items = items_of(runtime, values[0]);
  const int64_t slices = int_argument("slice", values[1]);
  if (slices == 0) throw Failure("integer division or modulo by zero");
  std::vector<Value> rows;
  int64_t begin = 0;
  for (int64_t i = 0; i < slices; ++i) {
    const bool extra = i < std::ssize(items) % slices;
    const int64_t end = begin + std::ssize(items) / slices + (extra ? 1 : 0);
    std::vector<Value> row(items.begin() + begin, items.begin() + end);
    if (is_given(values[2]) && !extra) row.push_back(values[2]);
    rows.push_back(make_list(runtime, std::move(row)));
    begin = end;
  }
  return rows;
}

Value filter_slice(Runtime&, Arguments arguments) {
  const auto values =
      bind_arguments("slice", std::move(arguments), {"value", "slices", "fill_with"}, 2);
  return make_iterator("generator", std::max(nesting_of(values[0]), nesting_of(values[2])) + 2,
                       [values, rows = IteratorPtr()](Runtime& r) mutable {
                         if (rows == nullptr) {
                           rows = iterate(r, make_list(r, slice_rows(r, values)));
                         }
                         return rows->next(r);
                       });
}

Value filter_items(Runtime&, Arguments arguments) {
  const auto values = bind_arguments("items", std::move(arguments), {"value"}, 1);
  const Value value = values[0];
  IteratorPtr source;
  return make_iterator("generator", nesting_of(value) + 1,
                       [value, source](Runtime& r) mutable -> std::optional<Value> {
                         if (value.undefined()) return std::nullopt;
                         if (value.dict() == nullptr) {
                           throw Failure("Can only get item pairs from a mapping.");
                         }
                         if (source == nullptr) {
                           source = iterate(r, call(r, attribute(r, value, "items"), {}));
                         }
                         return source->next(r);
                       });
}

Value group_of(Runtime& runtime, const Value& key, std::vector<Value> items) {
  Value list = make_list(runtime, std::move(items));
  const int nesting = nesting_around({key, list});
  return SequencePtr(std::make_shared<Sequence>(
      Sequence{.items = {key, std::move(list)}, .tuple = true, .nesting = nesting, .group = true}));
}

Value filter_group_by(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("groupby", std::move(arguments),
                                     {"value", "attribute", "default", "case_sensitive"}, 2);
  const AttributePath path(values[1]);
  const bool exact = is_yes(runtime, values[3]);
  const auto own_key = [&](const Value& item) { return path.of(runtime, item, values[2]); };
  const auto key_of = [&](const Value& item) {
    return exact ? own_key(item) : ignoring_case(runtime, own_key(item));
  };
  std::vector<Value> items = items_of(runtime, values[0]);
  sort_by(runtime, items, false, key_of);
  std::vector<Value> groups, group;
  for (size_t i = 0; i < items.size(); ++i) {
    group.push_back(items[i]);
    if (i + 1 < items.size() && equal(runtime, key_of(items[i]), key_of(items[i + 1]))) continue;
    const Value key = own_key(group[0]);
    groups.push_back(group_of(runtime, key, std::exchange(group, {})));
  }
  return make_list(runtime, std::move(groups));
}

// Like object.name, but never object[name].
Value filter_attr(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("attr", std::move(arguments), {"obj", "name"}, 2);
  const Text& name = text_argument("attr", values[1]);
  const Value& object = values[0];
  const Dict* dict = object.dict();
  if (dict != nullptr && dict->find(name.bytes) != nullptr &&
      container_method(object, name.bytes) == nullptr) {
    return undefined(fmt::format("'dict object' has no attribute '{}'", name.bytes));
  }
  return attribute(runtime, object, name.bytes);
}

}  // namespace

Filter list_filter(std::string_view name) {
  static const std::map<std::string_view, Filter> kFilters = {
      {"attr", filter_attr},         {"batch", filter_batch},        {"count", filter_length},
      {"d", filter_default},         {"default", filter_default},    {"dictsort", filter_dict_sort},
      {"first", filter_first},       {"groupby", filter_group_by},   {"items", filter_items},
      {"last", filter_last},         {"length", filter_length},      {"list", filter_list},
      {"max", filter_extreme<true>}, {"min", filter_extreme<false>}, {"reverse", filter_reverse},
      {"slice", filter_slice},       {"sort", filter_sort},          {"sum", filter_sum},
      {"unique", filter_unique}};
  const auto found = kFilters.find(name);
  return found == kFilters.end() ? nullptr : found->second;
}

}  // namespace leash::jinja

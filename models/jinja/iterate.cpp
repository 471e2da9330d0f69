// iter(), next() and len() of every kind of value.
#include <fmt/format.h>

#include "models/jinja/loop.h"
#include "models/jinja/runtime.h"
#include "models/jinja/value.h"

namespace leash::jinja {
namespace {

using NextItem = std::function<std::optional<Value>(Runtime&)>;

NextItem next_char_of(TextPtr text) {
  return
      [text = std::move(text), at = size_t{0}](Runtime& runtime) mutable -> std::optional<Value> {
        if (at == text->bytes.size()) return std::nullopt;
        const size_t begin = at;
        next_char(text->bytes, at);
        Text one = text->part(begin, at);
        one.markup = false;
        return make_text(runtime, std::move(one));
      };
}

// Of what has a size and entries by number.
template <class Pointer, class Size, class At>
NextItem next_entry_of(Pointer whole, Size size, At at) {
  return [whole = std::move(whole), size, at,
          i = size_t{0}](Runtime& runtime) mutable -> std::optional<Value> {
    runtime.budget.charge(1);
    if (i >= size(*whole)) return std::nullopt;
    return at(*whole, i++);
  };
}

NextItem next_of(const Value& value) {
  if (const auto* text = value.get<TextPtr>()) return next_char_of(*text);
  if (const auto* list = value.get<SequencePtr>()) {
    return next_entry_of(
        *list, [](const Sequence& s) { return s.items.size(); },
        [](const Sequence& s, size_t i) { return s.items[i]; });
  }
  if (const auto* dict = value.get<DictPtr>()) {
    return next_entry_of(
        *dict, [](const Dict& d) { return d.entries.size(); },
        [](const Dict& d, size_t i) { return d.entries[i].first; });
  }
  if (const auto* view = value.get<ViewPtr>()) {
    return next_entry_of(
        *view, [](const View& v) { return v.dict->entries.size(); },
        [](const View& v, size_t i) { return v.at(i); });
  }
  if (const auto* range = value.get<RangePtr>()) {
    return next_entry_of(
        *range, [](const Range& r) { return static_cast<size_t>(r.size()); },
        [](const Range& r, size_t i) { return Value(r.start + static_cast<int64_t>(i) * r.step); });
  }
  if (value.undefined()) return [](Runtime&) { return std::optional<Value>(); };
  return nullptr;
}

// A loop as an iterable gives (item, loop), and goes on for the for as well.
NextItem next_turn_of(LoopPtr loop) {
  return [loop = std::move(loop)](Runtime& runtime) -> std::optional<Value> {
    const auto item = next_turn(runtime, *loop);
    if (!item) return std::nullopt;
    return make_tuple(runtime, {*item, Value(loop)});
  };
}

}  // namespace

Value make_iterator(std::string kind, int nesting, NextItem next) {
  if (nesting >= Budget::kNesting) throw Failure("values are nested too deeply");
  return IteratorPtr(std::make_shared<Iterator>(
      Iterator{.kind = std::move(kind), .next = std::move(next), .nesting = nesting + 1}));
}

bool can_iterate(const Value& value) {
  return value.is<IteratorPtr>() || value.is<LoopPtr>() || next_of(value) != nullptr;
}

IteratorPtr iterate(Runtime& runtime, const Value& value) {
  runtime.budget.charge(1);
  if (const auto* iterator = value.get<IteratorPtr>()) return *iterator;
  NextItem next = value.is<LoopPtr>() ? next_turn_of(*value.get<LoopPtr>()) : next_of(value);
  if (next == nullptr) throw Failure(fmt::format("'{}' object is not iterable", type_name(value)));
  return *make_iterator("iterator", nesting_of(value), std::move(next)).get<IteratorPtr>();
}

std::vector<Value> items_of(Runtime& runtime, const Value& value) {
  if (const Sequence* sequence = value.sequence()) {
    runtime.budget.charge(static_cast<int64_t>(sequence->items.size()) + 1);
    return sequence->items;
  }
  std::vector<Value> items;
  const IteratorPtr iterator = iterate(runtime, value);
  while (auto item = iterator->next(runtime)) {
    runtime.budget.charge(1);
    items.push_back(std::move(*item));
  }
  return items;
}

std::optional<int64_t> length_of(Runtime& runtime, const Value& value) {
  if (const Text* text = value.text()) return text->length;
  if (const Sequence* sequence = value.sequence()) return std::ssize(sequence->items);
  if (const Dict* dict = value.dict()) return std::ssize(dict->entries);
  if (const auto* view = value.get<ViewPtr>()) return std::ssize((*view)->dict->entries);
  if (const auto* range = value.get<RangePtr>()) return (*range)->size();
  if (value.undefined()) return 0;
  if (const auto* loop = value.get<LoopPtr>()) return loop_length(runtime, **loop);
  return std::nullopt;
}

}  // namespace leash::jinja

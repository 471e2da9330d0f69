#include "models/jinja/value.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/jinja/compare.h"
#include "models/jinja/runtime.h"

namespace leash::jinja {

Value::Value(Text text) : data_(std::make_shared<const Text>(std::move(text))) {}

std::optional<int64_t> Value::integer() const {
  if (const auto* truth = get<bool>()) return *truth ? 1 : 0;
  if (const auto* number = get<int64_t>()) return *number;
  return std::nullopt;
}

const Value* Dict::find(std::string_view text_key) const {
  const auto found = places.find("s" + std::string(text_key));
  return found == places.end() ? nullptr : &entries[found->second].second;
}

Value View::at(size_t index) const {
  const auto& [key, value] = dict->entries[index];
  if (part == Part::keys) return key;
  if (part == Part::values) return value;
  Sequence pair{.items = {key, value}, .tuple = true, .nesting = dict->nesting};
  return SequencePtr(std::make_shared<Sequence>(std::move(pair)));
}

int64_t Range::size() const {
  if (step > 0 ? start >= stop : start <= stop) return 0;
  // Both differences fit: sizes are bounded where ranges are made.
  return step > 0 ? (stop - start - 1) / step + 1 : (start - stop - 1) / -step + 1;
}

const Value* Space::find(std::string_view name) const {
  const auto found =
      std::ranges::find_if(attributes, [&](const auto& entry) { return entry.first == name; });
  return found == attributes.end() ? nullptr : &found->second;
}

void Space::set(std::string_view name, Value value) {
  for (auto& [key, old] : attributes) {
    if (key != name) continue;
    old = std::move(value);
    return;
  }
  attributes.emplace_back(name, std::move(value));
}

Value undefined(std::string message) {
  return UndefinedPtr(std::make_shared<Undefined>(Undefined{std::move(message)}));
}

int nesting_of(const Value& value) {
  if (const auto* p = value.get<SequencePtr>()) return (*p)->nesting;
  if (const auto* p = value.get<DictPtr>()) return (*p)->nesting;
  if (const auto* p = value.get<ViewPtr>()) return (*p)->dict->nesting + 1;
  if (const auto* p = value.get<IteratorPtr>()) return (*p)->nesting;
  if (const auto* p = value.get<FunctionPtr>()) return (*p)->nesting;
  if (const auto* p = value.get<LoopPtr>()) return (*p)->nesting;
  if (const auto* p = value.get<CyclerPtr>()) return (*p)->nesting;
  return 0;
}

int nesting_around(const std::vector<Value>& items) {
  int deepest = 0;
  for (const Value& item : items) deepest = std::max(deepest, nesting_of(item));
  if (deepest >= Budget::kNesting) throw Failure("values are nested too deeply");
  return deepest + 1;
}

namespace {

Value make_sequence(Runtime& runtime, std::vector<Value> items, bool tuple) {
  runtime.budget.charge(static_cast<int64_t>(items.size()) + 1);
  const int nesting = nesting_around(items);
  return SequencePtr(std::make_shared<Sequence>(
      Sequence{.items = std::move(items), .tuple = tuple, .nesting = nesting}));
}

}  // namespace

Value make_list(Runtime& runtime, std::vector<Value> items) {
  return make_sequence(runtime, std::move(items), false);
}

Value make_tuple(Runtime& runtime, std::vector<Value> items) {
  return make_sequence(runtime, std::move(items), true);
}

Value make_dict(Runtime& runtime, std::vector<std::pair<Value, Value>> entries) {
  Dict dict;
  int deepest = 0;
  for (auto& [key, value] : entries) {
    runtime.budget.charge(4);
    deepest = std::max({deepest, nesting_of(key), nesting_of(value)});
    const auto [place, added] =
        dict.places.try_emplace(hash_key(runtime, key), dict.entries.size());
    if (added) {
      dict.entries.emplace_back(std::move(key), std::move(value));
    } else {
      dict.entries[place->second].second = std::move(value);
    }
  }
  if (deepest >= Budget::kNesting) throw Failure("values are nested too deeply");
  dict.nesting = deepest + 1;
  return DictPtr(std::make_shared<Dict>(std::move(dict)));
}

Value make_text(Runtime& runtime, Text text) {
  runtime.budget.charge_bytes(text.bytes.size() + text.foreign.size() * sizeof(TextRange));
  return Value(std::move(text));
}

Value make_text(Runtime& runtime, std::string text) {
  return make_text(runtime, Text(std::move(text)));
}

std::string type_name(const Value& value) {
  if (value.undefined() || value.missing()) return "Undefined";
  if (value.none()) return "NoneType";
  if (value.is<bool>()) return "bool";
  if (value.is<int64_t>()) return "int";
  if (value.is<double>()) return "float";
  if (const Text* text = value.text()) return text->markup ? "Markup" : "str";
  if (const Sequence* sequence = value.sequence()) return sequence->tuple ? "tuple" : "list";
  if (value.dict() != nullptr) return "dict";
  if (const auto* view = value.get<ViewPtr>()) {
    const View::Part part = (*view)->part;
    return part == View::Part::keys     ? "dict_keys"
           : part == View::Part::values ? "dict_values"
                                        : "dict_items";
  }
  if (value.is<RangePtr>()) return "range";
  if (const auto* iterator = value.get<IteratorPtr>()) return (*iterator)->kind;
  if (value.is<SpacePtr>()) return "Namespace";
  if (value.is<LoopPtr>()) return "LoopContext";
  if (value.is<CyclerPtr>()) return "Cycler";
  return "function";
}

bool truth(Runtime& runtime, const Value& value) {
  if (value.undefined() || value.missing() || value.none()) return false;
  if (const auto* number = value.get<double>()) return *number != 0;
  if (const auto number = value.integer()) return *number != 0;
  const auto length = length_of(runtime, value);
  return !length || *length != 0;
}

}  // namespace leash::jinja

// Methods of lists, tuples, ranges and dicts that change nothing.
#include <fmt/format.h>

#include "models/jinja/compare.h"
#include "models/jinja/methods.h"
#include "models/jinja/runtime.h"

namespace leash::jinja {
namespace {

Value count_equal(Runtime& runtime, const Value& self, Arguments arguments) {
  const auto values = bind_arguments("count", std::move(arguments), {"value"}, 1);
  int64_t count = 0;
  for (const Value& item : items_of(runtime, self))
    count += equal(runtime, item, values[0]) ? 1 : 0;
  return count;
}

Value index_of_equal(Runtime& runtime, const Value& self, Arguments arguments) {
  const auto values = bind_arguments("index", std::move(arguments), {"value", "start", "stop"}, 1);
  const std::vector<Value> items = items_of(runtime, self);
  const int64_t size = std::ssize(items);
  const auto place = [&](const Value& value, int64_t otherwise) {
    if (value.missing()) return otherwise;
    const int64_t at = int_argument("index", value);
    return at < 0 ? std::max<int64_t>(at + size, 0) : std::min(at, size);
  };
  const int64_t stop = place(values[2], size);
  for (int64_t i = place(values[1], 0); i < stop; ++i) {
    if (equal(runtime, items[static_cast<size_t>(i)], values[0])) return i;
  }
  throw Failure("index(): the value is not in the list");
}

Value copy_of(Runtime&, const Value& self, Arguments arguments) {
  bind_arguments("copy", std::move(arguments), {}, 0);
  return self;  // nothing can change it
}

Value dict_get(Runtime& runtime, const Value& self, Arguments arguments) {
  if (!arguments.named.empty()) throw Failure("get() takes no keyword arguments");
  const auto values = bind_arguments("get", std::move(arguments), {"key", "default"}, 1);
  const Dict& dict = *self.dict();
  const auto found = dict.places.find(hash_key(runtime, values[0]));
  if (found != dict.places.end()) return dict.entries[found->second].second;
  return values[1].missing() ? Value(None{}) : values[1];
}

template <View::Part part>
Value dict_view(Runtime&, const Value& self, Arguments arguments) {
  bind_arguments("view", std::move(arguments), {}, 0);
  return ViewPtr(std::make_shared<View>(View{.dict = *self.get<DictPtr>(), .part = part}));
}

}  // namespace

Method container_method(const Value& object, std::string_view name) {
  const Sequence* sequence = object.sequence();
  if (sequence != nullptr || object.is<RangePtr>()) {
    if (name == "count") return count_equal;
    if (name == "index") return index_of_equal;
    if (name == "copy" && sequence != nullptr && !sequence->tuple) return copy_of;
    return nullptr;
  }
  if (object.dict() == nullptr) return nullptr;
  if (name == "get") return dict_get;
  if (name == "items") return dict_view<View::Part::items>;
  if (name == "keys") return dict_view<View::Part::keys>;
  if (name == "values") return dict_view<View::Part::values>;
  if (name == "copy") return copy_of;
  return nullptr;
}

}  // namespace leash::jinja

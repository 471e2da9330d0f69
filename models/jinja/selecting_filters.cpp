// map, select, reject and their attribute forms; the list of all filters.
#include <fmt/format.h>

#include <map>

#include "models/jinja/filters.h"
#include "models/jinja/methods.h"
#include "models/jinja/repr.h"
#include "models/jinja/runtime.h"

namespace leash::jinja {
namespace {

// Jinja2 has them; they are random, or lay text out for web pages.
constexpr std::string_view kRefused[] = {"pprint", "random", "striptags", "urlize", "wordwrap"};

Value take_named(Arguments& arguments, std::string_view name) {
  for (auto at = arguments.named.begin(); at != arguments.named.end(); ++at) {
    if (at->first != name) continue;
    Value value = std::move(at->second);
    arguments.named.erase(at);
    return value;
  }
  return {};
}

// The value that is filtered, taken from the front of the arguments.
Value take_value(const char* filter, Arguments& arguments) {
  if (arguments.positional.empty()) throw Failure(fmt::format("{}() needs a value", filter));
  Value value = std::move(arguments.positional[0]);
  arguments.positional.erase(arguments.positional.begin());
  return value;
}

using MapItem = std::function<Value(Runtime&, const Value&)>;

MapItem mapping(Runtime& runtime, Arguments arguments) {
  if (arguments.positional.empty()) {
    Value attribute = take_named(arguments, "attribute");
    if (attribute.missing()) throw Failure("map requires a filter argument");
    const Value otherwise = take_named(arguments, "default");
    if (!arguments.named.empty()) {
      throw Failure(fmt::format("Unexpected keyword argument '{}'", arguments.named.front().first));
    }
    return [path = AttributePath(attribute), otherwise](Runtime& r, const Value& item) {
      return path.of(r, item, otherwise);
    };
  }
  const std::string name = to_text(runtime, take_value("map", arguments)).bytes;
  return [name, arguments](Runtime& r, const Value& item) {
    Arguments all = arguments;
    all.positional.insert(all.positional.begin(), item);
    return apply_filter(r, name, std::move(all));
  };
}

// Python looks at the arguments when the first item is asked for.
Value filter_map(Runtime& runtime, Arguments arguments) {
  const Value value = take_value("map", arguments);
  if (!truth(runtime, value)) {
    return make_iterator("generator", 0, [](Runtime&) { return std::optional<Value>(); });
  }
  return make_iterator(
      "generator", nesting_of(value) + 1,
      [value, source = IteratorPtr(), map = MapItem(),
       arguments = std::move(arguments)](Runtime& r) mutable -> std::optional<Value> {
        const Deeper deeper(r.budget);
        if (source == nullptr) {
          map = mapping(r, std::move(arguments));
          source = iterate(r, value);
        }
        const auto item = source->next(r);
        if (!item) return std::nullopt;
        return map(r, *item);
      });
}

struct Selection {
  std::optional<AttributePath> path;
  std::string test;  // empty: whether the value is true
  Arguments arguments;

  bool holds(Runtime& runtime, const Value& item) const {
    const Value value = path ? path->of(runtime, item) : item;
    if (test.empty()) return truth(runtime, value);
    Arguments all = arguments;
    all.positional.insert(all.positional.begin(), value);
    return apply_test(runtime, test, std::move(all));
  }
};

Selection selection_of(Runtime& runtime, Arguments arguments, bool by_attribute) {
  Selection selection;
  if (by_attribute) {
    if (arguments.positional.empty()) throw Failure("Missing parameter for attribute name");
    selection.path.emplace(take_value("select", arguments));
  }
  if (!arguments.positional.empty()) {
    selection.test = to_text(runtime, take_value("select", arguments)).bytes;
    selection.arguments = std::move(arguments);
  }
  return selection;
}

template <bool keep, bool by_attribute>
Value filter_select(Runtime& runtime, Arguments arguments) {
  const Value value = take_value("select", arguments);
  return make_iterator(
      "generator", nesting_of(value) + 1,
      [value, source = IteratorPtr(), selection = Selection(), arguments = std::move(arguments),
       empty = !truth(runtime, value)](Runtime& r) mutable -> std::optional<Value> {
        const Deeper deeper(r.budget);
        if (empty) return std::nullopt;
        if (source == nullptr) {
          selection = selection_of(r, std::move(arguments), by_attribute);
          source = iterate(r, value);
        }
        while (auto item = source->next(r)) {
          if (selection.holds(r, *item) == keep) return item;
        }
        return std::nullopt;
      });
}

Filter find_filter(std::string_view name) {
  for (const auto find : {text_filter, list_filter, selecting_filter, number_filter}) {
    if (const Filter filter = find(name)) return filter;
  }
  return nullptr;
}

bool all_digits_in(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == text.npos;
}

}  // namespace

AttributePath::AttributePath(const Value& attribute) {
  if (attribute.none() || attribute.missing()) return;
  const Text* text = attribute.text();
  if (text == nullptr) {
    parts_.push_back(attribute);
    return;
  }
  size_t begin = 0;
  for (size_t at = 0; at <= text->bytes.size(); ++at) {
    if (at < text->bytes.size() && text->bytes[at] != '.') continue;
    const std::string part = text->bytes.substr(begin, at - begin);
    if (all_digits_in(part) && part.size() < 18) {
      parts_.emplace_back(static_cast<int64_t>(std::stoll(part)));
    } else {
      parts_.emplace_back(part);
    }
    begin = at + 1;
  }
}

Value AttributePath::of(Runtime& runtime, Value item) const {
  return of(runtime, std::move(item), Value());
}

Value AttributePath::of(Runtime& runtime, Value item, const Value& otherwise) const {
  for (const Value& part : parts_) {
    item = jinja::item(runtime, item, part);
    if (item.undefined() && !otherwise.missing() && !otherwise.none()) item = otherwise;
  }
  return item;
}

Value ignoring_case(Runtime& runtime, const Value& value) {
  const Text* text = value.text();
  return text != nullptr ? make_text(runtime, map_text(runtime, *text, to_lower)) : value;
}

Filter selecting_filter(std::string_view name) {
  if (name == "map") return filter_map;
  if (name == "select") return filter_select<true, false>;
  if (name == "reject") return filter_select<false, false>;
  if (name == "selectattr") return filter_select<true, true>;
  if (name == "rejectattr") return filter_select<false, true>;
  return nullptr;
}

bool is_filter(const std::string& name) {
  return find_filter(name) != nullptr ||
         std::find(std::begin(kRefused), std::end(kRefused), name) != std::end(kRefused);
}

Value apply_filter(Runtime& runtime, const std::string& name, Arguments arguments) {
  const Deeper deeper(runtime.budget);
  if (const Filter filter = find_filter(name)) return filter(runtime, std::move(arguments));
  if (is_filter(name)) throw Failure(fmt::format("the filter '{}' is not supported", name));
  throw Failure(fmt::format("No filter named '{}'.", name));
}

}  // namespace leash::jinja

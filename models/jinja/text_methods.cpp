// Methods of Python's str that give texts, lists and numbers.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "models/jinja/format.h"
#include "models/jinja/methods.h"
#include "models/jinja/repr.h"
#include "models/jinja/runtime.h"

namespace leash::jinja {
namespace {

constexpr int64_t kAll = INT64_MAX;

void no_names(const char* method, const Arguments& arguments) {
  if (!arguments.named.empty()) {
    throw Failure(fmt::format("{}() takes no keyword arguments", method));
  }
}

Value marked_as(Runtime& runtime, const Text& self, Text text) {
  text.markup = self.markup;
  return make_text(runtime, std::move(text));
}

template <int sides>
Value strip(Runtime& runtime, const Value& self, Arguments arguments) {
  no_names("strip", arguments);
  const auto values = bind_arguments("strip", std::move(arguments), {"chars"}, 0);
  return strip_text(runtime, *self.text(), values[0], sides);
}

template <std::string (*map)(std::string_view)>
Value mapped(Runtime& runtime, const Value& self, Arguments arguments) {
  bind_arguments("upper", std::move(arguments), {}, 0);
  return make_text(runtime, map_text(runtime, *self.text(), map));
}

std::string one_char(char32_t c) {
  std::string text;
  append_char(text, c);
  return text;
}

std::string titled(std::string_view text) {
  std::string result;
  const std::vector<char32_t> chars = chars_of(text);
  for (size_t i = 0; i < chars.size(); ++i) {
    const bool inside = i > 0 && is_cased(chars[i - 1]);
    result += inside ? lower_of(chars, i) : to_title(one_char(chars[i]));
  }
  return result;
}

std::string swapped(std::string_view text) {
  std::string result;
  const std::vector<char32_t> chars = chars_of(text);
  for (size_t i = 0; i < chars.size(); ++i) {
    const std::string one = one_char(chars[i]);
    result += is_upper_char(chars[i])   ? lower_of(chars, i)
              : is_lower_char(chars[i]) ? to_upper(one)
                                        : one;
  }
  return result;
}

Value capitalize(Runtime& runtime, const Value& self, Arguments arguments) {
  bind_arguments("capitalize", std::move(arguments), {}, 0);
  return make_text(runtime, capitalized(runtime, *self.text()));
}

// The part that `start` and `stop` of find and the like look at; none where it begins behind the
// end.
std::optional<Text> looked_at(const Text& text, const Value& start, const Value& stop,
                              int64_t& shift) {
  const auto place = [&](const Value& value, int64_t otherwise) {
    if (value.missing() || value.none()) return otherwise;
    const int64_t at = int_argument("find", value);
    return at < 0 ? std::max<int64_t>(at + text.length, 0) : at;
  };
  shift = place(start, 0);
  const int64_t end = std::min(place(stop, text.length), text.length);
  if (shift > end) return std::nullopt;
  return text.part(text.offset(shift), text.offset(end));
}

template <bool from_right, bool must>
Value find(Runtime& runtime, const Value& self, Arguments arguments) {
  no_names("find", arguments);
  const auto values = bind_arguments("find", std::move(arguments), {"sub", "start", "end"}, 1);
  runtime.budget.charge_bytes(self.text()->bytes.size());
  int64_t shift = 0;
  const std::string& wanted = text_argument("find", values[0]).bytes;
  const auto part = looked_at(*self.text(), values[1], values[2], shift);
  const size_t at = !part        ? std::string_view::npos
                    : from_right ? rfind_part(part->bytes, wanted)
                                 : find_part(part->bytes, wanted, 0);
  if (at != std::string_view::npos) return Text(part->bytes.substr(0, at)).length + shift;
  if (must) throw Failure("substring not found");
  return int64_t{-1};
}

Value count(Runtime& runtime, const Value& self, Arguments arguments) {
  no_names("count", arguments);
  const auto values = bind_arguments("count", std::move(arguments), {"sub", "start", "end"}, 1);
  runtime.budget.charge_bytes(self.text()->bytes.size());
  int64_t shift = 0;
  const std::string& wanted = text_argument("count", values[0]).bytes;
  const auto part = looked_at(*self.text(), values[1], values[2], shift);
  if (!part) return int64_t{0};
  if (wanted.empty()) return part->length + 1;
  int64_t found = 0;
  for (size_t at = 0; (at = find_part(part->bytes, wanted, at)) != std::string_view::npos;
       at += wanted.size()) {
    runtime.budget.charge(1);
    ++found;
  }
  return found;
}

template <bool at_end>
Value has_affix(Runtime& runtime, const Value& self, Arguments arguments) {
  no_names("startswith", arguments);
  const auto values =
      bind_arguments("startswith", std::move(arguments), {"prefix", "start", "end"}, 1);
  int64_t shift = 0;
  const auto part = looked_at(*self.text(), values[1], values[2], shift);
  const auto has = [&](const Value& affix) {
    const std::string& wanted = text_argument("startswith", affix).bytes;
    runtime.budget.charge_bytes(wanted.size());
    return part && (at_end ? part->bytes.ends_with(wanted) : part->bytes.starts_with(wanted));
  };
  const Sequence* affixes = values[0].sequence();
  if (affixes == nullptr || !affixes->tuple) return has(values[0]);
  return std::ranges::any_of(affixes->items, has);
}

template <bool at_end>
Value remove_affix(Runtime& runtime, const Value& self, Arguments arguments) {
  no_names("removeprefix", arguments);
  const auto values = bind_arguments("removeprefix", std::move(arguments), {"prefix"}, 1);
  const Text& text = *self.text();
  const std::string& affix = text_argument("removeprefix", values[0]).bytes;
  const bool has = at_end ? text.bytes.ends_with(affix) : text.bytes.starts_with(affix);
  if (!has) return self;
  const size_t size = text.bytes.size() - affix.size();
  return make_text(runtime,
                   at_end ? text.part(0, size) : text.part(affix.size(), text.bytes.size()));
}

Value replace(Runtime& runtime, const Value& self, Arguments arguments) {
  no_names("replace", arguments);
  const auto values = bind_arguments("replace", std::move(arguments), {"old", "new", "count"}, 2);
  const int64_t most = values[2].missing() ? -1 : int_argument("replace", values[2]);
  Text with = text_argument("replace", values[1]);
  if (self.text()->markup) with = escape_html(with);
  return marked_as(
      runtime, *self.text(),
      replace_text(runtime, *self.text(), text_argument("replace", values[0]), with, most));
}

Value join(Runtime& runtime, const Value& self, Arguments arguments) {
  no_names("join", arguments);
  const auto values = bind_arguments("join", std::move(arguments), {"iterable"}, 1);
  std::vector<Text> parts;
  for (const Value& item : items_of(runtime, values[0])) {
    if (item.text() == nullptr) {
      throw Failure(fmt::format("sequence item {}: expected str instance, {} found", parts.size(),
                                type_name(item)));
    }
    parts.push_back(self.text()->markup ? escape_html(*item.text()) : *item.text());
  }
  return marked_as(runtime, *self.text(), join_texts(runtime, *self.text(), parts));
}

template <bool from_right>
Value partition(Runtime& runtime, const Value& self, Arguments arguments) {
  no_names("partition", arguments);
  const auto values = bind_arguments("partition", std::move(arguments), {"sep"}, 1);
  const Text& text = *self.text();
  const Text& separator = text_argument("partition", values[0]);
  if (separator.bytes.empty()) throw Failure("empty separator");
  runtime.budget.charge_bytes(text.bytes.size());
  const size_t at = from_right ? rfind_part(text.bytes, separator.bytes)
                               : find_part(text.bytes, separator.bytes, 0);
  const size_t size = text.bytes.size();
  const auto part = [&](size_t begin, size_t end) {
    return make_text(runtime, text.part(begin, end));
  };
  if (at == std::string_view::npos) {
    const Value whole = part(0, size), none = part(0, 0);
    return from_right ? make_tuple(runtime, {none, none, whole})
                      : make_tuple(runtime, {whole, none, none});
  }
  const size_t behind = at + separator.bytes.size();
  return make_tuple(runtime, {part(0, at), part(at, behind), part(behind, size)});
}

Value split_lines_of(Runtime& runtime, const Value& self, Arguments arguments) {
  const auto values = bind_arguments("splitlines", std::move(arguments), {"keepends"}, 0);
  const bool keep = !values[0].missing() && truth(runtime, values[0]);
  std::vector<Value> lines;
  for (const Line& line : split_lines(self.text()->bytes)) {
    lines.push_back(make_text(runtime, self.text()->part(line.begin, keep ? line.next : line.end)));
  }
  return make_list(runtime, std::move(lines));
}

enum class Side { left, right, middle };
template <Side side>
Value justify(Runtime& runtime, const Value& self, Arguments arguments) {
  no_names("center", arguments);
  const auto values = bind_arguments("center", std::move(arguments), {"width", "fillchar"}, 1);
  const Text& text = *self.text();
  const int64_t width = int_argument("center", values[0]);
  const Text fill = values[1].missing() ? Text(" ") : text_argument("center", values[1]);
  if (fill.length != 1) throw Failure("The fill character must be exactly one character long");
  const int64_t missing = std::max<int64_t>(width - text.length, 0);
  runtime.budget.charge(missing / 16 + 1);
  const int64_t left = side == Side::left    ? 0
                       : side == Side::right ? missing
                                             : missing / 2 + (missing & width & 1);
  TextBuilder out;
  for (int64_t i = 0; i < left; ++i) out.add(fill);
  out.add(text);
  for (int64_t i = left; i < missing; ++i) out.add(fill);
  return marked_as(runtime, text, out.finish());
}

Value fill_zeros(Runtime& runtime, const Value& self, Arguments arguments) {
  no_names("zfill", arguments);
  const auto values = bind_arguments("zfill", std::move(arguments), {"width"}, 1);
  const Text& text = *self.text();
  const int64_t missing = std::max<int64_t>(int_argument("zfill", values[0]) - text.length, 0);
  runtime.budget.charge(missing / Budget::kBytes + 1);
  const size_t sign = text.bytes.starts_with('+') || text.bytes.starts_with('-') ? 1 : 0;
  TextBuilder out;
  out.add(text, 0, sign);
  out.add(std::string(static_cast<size_t>(missing), '0'));
  out.add(text, sign, text.bytes.size());
  return marked_as(runtime, text, out.finish());
}

Value format(Runtime& runtime, const Value& self, Arguments arguments) {
  return format_braces(runtime, *self.text(), arguments);
}

// Splitting at white space, or at a separator; from the right for rsplit.
std::vector<TextRange> split_at_spaces(const Text& text, int64_t most, bool from_right) {
  std::vector<TextRange> parts;
  size_t begin = leading_space(text.bytes);
  size_t end = text.bytes.size() - (begin < text.bytes.size() ? trailing_space(text.bytes) : 0);
  if (begin >= text.bytes.size()) return parts;
  const std::string_view bytes = text.bytes;
  std::vector<TextRange> words;
  size_t word = begin;
  for (size_t at = begin; at < end;) {
    const size_t here = at;
    if (!is_python_space(next_char(bytes, at))) continue;
    if (here > word) words.push_back({word, here});
    word = at;
  }
  words.push_back({word, end});
  const auto count = std::ssize(words);
  if (count <= most) return words;
  // What is not split any more: with the white space at its far side left as it is.
  if (!from_right) {
    parts.assign(words.begin(), words.begin() + most);
    parts.push_back({words[static_cast<size_t>(most)].begin, text.bytes.size()});
  } else {
    const auto first = static_cast<size_t>(count - most - 1);
    parts.push_back({0, words[first].end});
    parts.insert(parts.end(), words.begin() + static_cast<int64_t>(first) + 1, words.end());
  }
  return parts;
}

std::vector<TextRange> split_at(const Text& text, const std::string& separator, int64_t most,
                                bool from_right) {
  std::vector<size_t> found;
  if (from_right) {
    const std::string backwards(text.bytes.rbegin(), text.bytes.rend());
    const std::string wanted(separator.rbegin(), separator.rend());
    for (size_t at = 0; std::ssize(found) < most &&
                        (at = find_part(backwards, wanted, at)) != std::string_view::npos;
         at += wanted.size()) {
      found.push_back(backwards.size() - at - wanted.size());
    }
    std::ranges::reverse(found);
  } else {
    for (size_t at = 0; std::ssize(found) < most &&
                        (at = find_part(text.bytes, separator, at)) != std::string_view::npos;
         at += separator.size()) {
      found.push_back(at);
    }
  }
  std::vector<TextRange> parts;
  size_t begin = 0;
  for (const size_t at : found) {
    parts.push_back({begin, at});
    begin = at + separator.size();
  }
  parts.push_back({begin, text.bytes.size()});
  return parts;
}

template <bool from_right>
Value split(Runtime& runtime, const Value& self, Arguments arguments) {
  const auto values = bind_arguments("split", std::move(arguments), {"sep", "maxsplit"}, 0);
  const Text& text = *self.text();
  runtime.budget.charge_bytes(text.bytes.size());
  int64_t most = values[1].missing() ? -1 : int_argument("split", values[1]);
  if (most < 0) most = kAll;
  std::vector<TextRange> ranges;
  if (values[0].missing() || values[0].none()) {
    ranges = split_at_spaces(text, most, from_right);
  } else {
    const std::string& separator = text_argument("split", values[0]).bytes;
    if (separator.empty()) throw Failure("empty separator");
    ranges = split_at(text, separator, most, from_right);
  }
  std::vector<Value> parts;
  for (const TextRange& range : ranges) {
    parts.push_back(make_text(runtime, text.part(range.begin, range.end)));
  }
  return make_list(runtime, std::move(parts));
}

}  // namespace

Method text_method(std::string_view name) {
  static const std::map<std::string_view, Method> kMethods = {{"capitalize", capitalize},
                                                              {"center", justify<Side::middle>},
                                                              {"count", count},
                                                              {"endswith", has_affix<true>},
                                                              {"find", find<false, false>},
                                                              {"format", format},
                                                              {"index", find<false, true>},
                                                              {"join", join},
                                                              {"ljust", justify<Side::left>},
                                                              {"lower", mapped<to_lower>},
                                                              {"lstrip", strip<1>},
                                                              {"partition", partition<false>},
                                                              {"removeprefix", remove_affix<false>},
                                                              {"removesuffix", remove_affix<true>},
                                                              {"replace", replace},
                                                              {"rfind", find<true, false>},
                                                              {"rindex", find<true, true>},
                                                              {"rjust", justify<Side::right>},
                                                              {"rpartition", partition<true>},
                                                              {"rsplit", split<true>},
                                                              {"rstrip", strip<2>},
                                                              {"split", split<false>},
                                                              {"splitlines", split_lines_of},
                                                              {"startswith", has_affix<false>},
                                                              {"strip", strip<3>},
                                                              {"swapcase", mapped<swapped>},
                                                              {"title", mapped<titled>},
                                                              {"upper", mapped<to_upper>},
                                                              {"zfill", fill_zeros}};
  const auto found = kMethods.find(name);
  return found == kMethods.end() ? nullptr : found->second;
}

}  // namespace leash::jinja

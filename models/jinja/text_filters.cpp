#include <fmt/format.h>

#include <map>

#include "models/jinja/filters.h"
#include "models/jinja/format.h"
#include "models/jinja/methods.h"
#include "models/jinja/operators.h"
#include "models/jinja/repr.h"
#include "models/jinja/runtime.h"
#include "models/jinja/to_json.h"

namespace leash::jinja {
namespace {

bool given(const Value& value) { return !value.missing(); }

template <std::string (*map)(std::string_view)>
Value filter_mapped(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("upper", std::move(arguments), {"s"}, 1);
  return make_text(runtime, map_text(runtime, soft_text(runtime, values[0]), map));
}

Value filter_capitalize(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("capitalize", std::move(arguments), {"s"}, 1);
  return make_text(runtime, capitalized(runtime, soft_text(runtime, values[0])));
}

// Words begin behind white space, dashes and opening brackets.
std::string titled_words(std::string_view text) {
  std::string result;
  size_t begin = 0;
  const auto add_word = [&](size_t end) {
    if (begin == end) return;
    size_t first = begin;
    next_char(text, first);
    result += to_upper(text.substr(begin, first - begin));
    result += to_lower(text.substr(first, end - first));
  };
  for (size_t at = 0; at < text.size();) {
    const size_t here = at;
    const char32_t c = next_char(text, at);
    const bool opens = c == '(' || c == '{' || c == '[' || c == '<';
    if (c != '-' && !opens && !is_python_space(c)) continue;
    add_word(here);
    result += text.substr(here, at - here);
    begin = at;
  }
  add_word(text.size());
  return result;
}

Value filter_title(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("title", std::move(arguments), {"s"}, 1);
  return make_text(runtime, map_text(runtime, to_text(runtime, values[0]), titled_words));
}

Value filter_trim(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("trim", std::move(arguments), {"value", "chars"}, 1);
  return strip_text(runtime, soft_text(runtime, values[0]), values[1], 3);
}

Value filter_string(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("string", std::move(arguments), {"s"}, 1);
  return make_text(runtime, soft_text(runtime, values[0]));
}

Value filter_safe(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("safe", std::move(arguments), {"value"}, 1);
  Text text = to_text(runtime, values[0]);
  text.markup = true;
  return make_text(runtime, std::move(text));
}

template <bool again>
Value filter_escape(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("escape", std::move(arguments), {"s"}, 1);
  Text text = soft_text(runtime, values[0]);
  if (again) text.markup = false;
  return make_text(runtime, escape_html(text));
}

Value filter_replace(Runtime& runtime, Arguments arguments) {
  const auto values =
      bind_arguments("replace", std::move(arguments), {"s", "old", "new", "count"}, 3);
  const bool all = !given(values[3]) || values[3].none();
  return make_text(runtime, replace_text(runtime, to_text(runtime, values[0]),
                                         to_text(runtime, values[1]), to_text(runtime, values[2]),
                                         all ? -1 : int_argument("replace", values[3])));
}

Value filter_center(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("center", std::move(arguments), {"value", "width"}, 1);
  const int64_t width = given(values[1]) ? int_argument("center", values[1]) : 80;
  return make_text(runtime, centered(runtime, soft_text(runtime, values[0]), width));
}

Value filter_format(Runtime& runtime, Arguments arguments) {
  if (arguments.positional.empty()) throw Failure("format() is missing the argument 'value'");
  const Text format = soft_text(runtime, arguments.positional[0]);
  std::vector<Value> rest(arguments.positional.begin() + 1, arguments.positional.end());
  if (!rest.empty() && !arguments.named.empty()) {
    throw Failure("can't handle positional and keyword arguments at the same time");
  }
  if (arguments.named.empty()) {
    return format_percent(runtime, format, make_tuple(runtime, std::move(rest)));
  }
  std::vector<std::pair<Value, Value>> entries;
  for (auto& [name, value] : arguments.named) entries.emplace_back(Value(name), value);
  return format_percent(runtime, format, make_dict(runtime, std::move(entries)));
}

Value filter_indent(Runtime& runtime, Arguments arguments) {
  const auto values =
      bind_arguments("indent", std::move(arguments), {"s", "width", "first", "blank"}, 1);
  Text indention(std::string(4, ' '));
  if (const Text* text = values[1].text()) {
    indention = *text;
  } else if (given(values[1])) {
    const int64_t width = std::max<int64_t>(int_argument("indent", values[1]), 0);
    runtime.budget.charge(width);
    indention = Text(std::string(static_cast<size_t>(width), ' '));
  }
  const auto yes = [&](const Value& value) { return given(value) && truth(runtime, value); };
  const bool first = yes(values[2]), blank = yes(values[3]);
  const Text& plain = text_argument("indent", values[0]);
  if (plain.markup) throw Failure("indent of a safe text is not supported");
  TextBuilder whole;
  whole.add(plain);
  whole.add("\n");
  const Text text = whole.finish();
  TextBuilder out;
  if (first) out.add(indention);
  bool front = true;
  for (const Line& line : split_lines(text.bytes)) {
    if (!front) out.add("\n");
    if (!front && (blank || line.end > line.begin)) out.add(indention);
    runtime.budget.charge_bytes(line.end - line.begin + indention.bytes.size());
    out.add(text, line.begin, line.end);
    front = false;
  }
  return make_text(runtime, out.finish());
}

Value filter_truncate(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("truncate", std::move(arguments),
                                     {"s", "length", "killwords", "end", "leeway"}, 1);
  const int64_t length = given(values[1]) ? int_argument("truncate", values[1]) : 255;
  const bool kill_words = given(values[2]) && truth(runtime, values[2]);
  const Text end = given(values[3]) ? text_argument("truncate", values[3]) : Text("...");
  const bool own_leeway = given(values[4]) && !values[4].none();
  const int64_t leeway = own_leeway ? int_argument("truncate", values[4]) : 5;
  if (length < end.length)
    throw Failure(fmt::format("expected length >= {}, got {}", end.length, length));
  if (leeway < 0) throw Failure(fmt::format("expected leeway >= 0, got {}", leeway));
  const auto size = length_of(runtime, values[0]);
  if (size && *size - leeway <= length) return values[0];
  const Text& text = text_argument("truncate", values[0]);
  Text part = text.part(0, text.offset(length - end.length));
  if (!kill_words) {
    if (const size_t space = part.bytes.rfind(' '); space != part.bytes.npos) {
      part = part.part(0, space);
    }
  }
  TextBuilder out;
  out.add(part);
  out.add(end);
  return make_text(runtime, out.finish());
}

Value filter_word_count(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("wordcount", std::move(arguments), {"s"}, 1);
  const Text text = soft_text(runtime, values[0]);
  if (!text.ascii()) throw Failure("wordcount is known here for ASCII alone");
  int64_t count = 0;
  bool inside = false;
  for (const char c : text.bytes) {
    const bool word = std::isalnum(static_cast<unsigned char>(c)) || c == '_';
    count += word && !inside ? 1 : 0;
    inside = word;
  }
  return count;
}

std::string url_quoted(std::string_view text, bool query) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = byte < 0x80 && (std::isalnum(byte) ||
                                       std::string_view("_.-~").find(c) != std::string_view::npos);
    if (plain || (c == '/' && !query)) {
      result += c;
    } else if (c == ' ' && query) {
      result += '+';
    } else {
      result += fmt::format("%{:02X}", byte);
    }
  }
  return result;
}

Value filter_url_encode(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("urlencode", std::move(arguments), {"value"}, 1);
  const Value& value = values[0];
  if (value.text() != nullptr || !can_iterate(value)) {
    return make_text(runtime, url_quoted(to_text(runtime, value).bytes, false));
  }
  const bool dict = value.dict() != nullptr;
  std::string result;
  for (const Value& entry :
       items_of(runtime, dict ? call(runtime, attribute(runtime, value, "items"), {}) : value)) {
    const std::vector<Value> pair = items_of(runtime, entry);
    if (pair.size() != 2) throw Failure("urlencode needs pairs");
    result += fmt::format("{}{}={}", result.empty() ? "" : "&",
                          url_quoted(to_text(runtime, pair[0]).bytes, true),
                          url_quoted(to_text(runtime, pair[1]).bytes, true));
  }
  return make_text(runtime, std::move(result));
}

Value filter_xml_attributes(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("xmlattr", std::move(arguments), {"d", "autospace"}, 1);
  if (values[0].dict() == nullptr) throw Failure("xmlattr needs a dict");
  TextBuilder out;
  for (const auto& [key, value] : values[0].dict()->entries) {
    if (value.none() || value.undefined()) continue;
    const std::string& name = text_argument("xmlattr", key).bytes;
    if (name.find_first_of(" \t\n\r\f\v/>=") != name.npos) {
      throw Failure("Invalid character in attribute name: " + repr_of_text(name));
    }
    const bool space = !given(values[1]) || truth(runtime, values[1]);
    if (out.size() > 0 || space) out.add(" ");
    out.add(escape_html(*key.text()));
    out.add("=\"");
    out.add(escape_html(soft_text(runtime, value)));
    out.add("\"");
  }
  return make_text(runtime, out.finish());
}

JsonStyle json_style(Runtime& runtime, const std::vector<Value>& values) {
  const auto yes = [&](const Value& value) { return given(value) && truth(runtime, value); };
  JsonStyle style{.ensure_ascii = yes(values[1]), .sort_keys = yes(values[4])};
  if (given(values[2]) && !values[2].none()) {
    style.indented = true;
    style.item_separator = ",";
    if (const Text* text = values[2].text()) {
      style.indent = text->bytes;
    } else {
      const int64_t width = std::max<int64_t>(int_argument("tojson", values[2]), 0);
      runtime.budget.charge(width);
      style.indent = std::string(static_cast<size_t>(width), ' ');
    }
  }
  if (given(values[3]) && !values[3].none()) {
    const std::vector<Value> pair = items_of(runtime, values[3]);
    if (pair.size() != 2) throw Failure("tojson: separators are two");
    style.item_separator = text_argument("tojson", pair[0]).bytes;
    style.key_separator = text_argument("tojson", pair[1]).bytes;
  }
  return style;
}

Value filter_to_json(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("tojson", std::move(arguments),
                                     {"x", "ensure_ascii", "indent", "separators", "sort_keys"}, 1);
  return make_text(runtime, to_json(runtime, values[0], json_style(runtime, values)));
}

Value filter_join(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("join", std::move(arguments), {"value", "d", "attribute"}, 1);
  const bool attributes = given(values[2]) && !values[2].none();
  const AttributePath path(attributes ? values[2] : Value(None{}));
  std::vector<Text> parts;
  for (const Value& item : items_of(runtime, values[0])) {
    parts.push_back(to_text(runtime, attributes ? path.of(runtime, item) : item));
  }
  const Text separator = given(values[1]) ? to_text(runtime, values[1]) : Text();
  return make_text(runtime, join_texts(runtime, separator, parts));
}

}  // namespace

Filter text_filter(std::string_view name) {
  static const std::map<std::string_view, Filter> kFilters = {{"capitalize", filter_capitalize},
                                                              {"center", filter_center},
                                                              {"e", filter_escape<false>},
                                                              {"escape", filter_escape<false>},
                                                              {"forceescape", filter_escape<true>},
                                                              {"format", filter_format},
                                                              {"indent", filter_indent},
                                                              {"join", filter_join},
                                                              {"lower", filter_mapped<to_lower>},
                                                              {"replace", filter_replace},
                                                              {"safe", filter_safe},
                                                              {"string", filter_string},
                                                              {"title", filter_title},
                                                              {"tojson", filter_to_json},
                                                              {"trim", filter_trim},
                                                              {"truncate", filter_truncate},
                                                              {"upper", filter_mapped<to_upper>},
                                                              {"urlencode", filter_url_encode},
                                                              {"wordcount", filter_word_count},
                                                              {"xmlattr", filter_xml_attributes}};
  const auto found = kFilters.find(name);
  return found == kFilters.end() ? nullptr : found->second;
}

}  // namespace leash::jinja

#include "models/jinja/repr.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "models/jinja/runtime.h"

namespace leash::jinja {
namespace {

void add_repr(Runtime& runtime, const Value& value, TextBuilder& out);

template <class Items, class Add>
void add_all(TextBuilder& out, std::string_view open, std::string_view close, const Items& items,
             const Add& add) {
  out.add(open);
  bool first = true;
  for (const auto& item : items) {
    if (!first) out.add(", ");
    first = false;
    add(item);
  }
  out.add(close);
}

void add_sequence(Runtime& runtime, const Sequence& sequence, TextBuilder& out) {
  const bool lonely = sequence.tuple && sequence.items.size() == 1;
  add_all(out, sequence.tuple ? "(" : "[",
          lonely           ? ",)"
          : sequence.tuple ? ")"
                           : "]",
          sequence.items, [&](const Value& item) { add_repr(runtime, item, out); });
}

void add_dict(Runtime& runtime, const Dict& dict, TextBuilder& out) {
  add_all(out, "{", "}", dict.entries, [&](const auto& entry) {
    add_repr(runtime, entry.first, out);
    out.add(": ");
    add_repr(runtime, entry.second, out);
  });
}

void add_view(Runtime& runtime, const Value& value, const View& view, TextBuilder& out) {
  std::vector<Value> items;
  for (size_t i = 0; i < view.dict->entries.size(); ++i) items.push_back(view.at(i));
  out.add(type_name(value));
  add_all(out, "([", "])", items, [&](const Value& item) { add_repr(runtime, item, out); });
}

void add_space(Runtime& runtime, const Space& space, TextBuilder& out) {
  add_all(out, "<Namespace {", "}>", space.attributes, [&](const auto& entry) {
    out.add(repr_of_text(entry.first));
    out.add(": ");
    add_repr(runtime, entry.second, out);
  });
}

void add_text(const Text& text, TextBuilder& out) {
  if (text.markup) out.add("Markup(");
  const std::string shown = repr_of_text(text.bytes);
  // Inside the quotes nothing but what the text has: foreign where any of it is.
  if (text.foreign.empty()) {
    out.add(shown);
  } else if (shown.size() == text.bytes.size() + 2) {
    out.add(shown.substr(0, 1));
    out.add(text);
    out.add(shown.substr(shown.size() - 1));
  } else {
    out.add_foreign(shown);
  }
  if (text.markup) out.add(")");
}

void add_repr(Runtime& runtime, const Value& value, TextBuilder& out) {
  const Deeper deeper(runtime.budget);
  const size_t before = out.size();
  if (const Text* text = value.text()) {
    add_text(*text, out);
  } else if (const Sequence* sequence = value.sequence()) {
    add_sequence(runtime, *sequence, out);
  } else if (const Dict* dict = value.dict()) {
    add_dict(runtime, *dict, out);
  } else if (const auto* view = value.get<ViewPtr>()) {
    add_view(runtime, value, **view, out);
  } else if (const auto* space = value.get<SpacePtr>()) {
    add_space(runtime, **space, out);
  } else if (value.undefined()) {
    out.add("Undefined");
  } else {
    out.add(to_text(runtime, value));
  }
  runtime.budget.charge_bytes(out.size() - before);
}

std::string repr_of_range(const Range& range) {
  if (range.step == 1) return fmt::format("range({}, {})", range.start, range.stop);
  return fmt::format("range({}, {}, {})", range.start, range.stop, range.step);
}

}  // namespace

Text repr(Runtime& runtime, const Value& value) {
  TextBuilder out;
  add_repr(runtime, value, out);
  return out.finish();
}

Text to_text(Runtime& runtime, const Value& value) {
  Text text = soft_text(runtime, value);
  text.markup = false;
  return text;
}

Text soft_text(Runtime& runtime, const Value& value) {
  if (const Text* text = value.text()) {
    runtime.budget.charge_bytes(text->bytes.size());
    return *text;
  }
  if (value.undefined() || value.missing()) return Text();
  if (value.none()) return Text("None");
  if (const auto* truth = value.get<bool>()) return Text(*truth ? "True" : "False");
  if (const auto* number = value.get<int64_t>()) return Text(fmt::format("{}", *number));
  if (const auto* number = value.get<double>()) return Text(repr_of_double(*number));
  if (const auto* range = value.get<RangePtr>()) return Text(repr_of_range(**range));
  if (const auto* loop = value.get<LoopPtr>()) {
    const int64_t length = *length_of(runtime, value);
    return Text(fmt::format("<LoopContext {}/{}>", (*loop)->index0 + 1, length));
  }
  if (const auto* function = value.get<FunctionPtr>()) {
    if (!(*function)->about.missing())
      return Text("<Macro " + repr_of_text((*function)->name) + ">");
  }
  if (value.is<FunctionPtr>() || value.is<IteratorPtr>() || value.is<CyclerPtr>()) {
    throw Failure(fmt::format("a {} has no text that is the same twice", type_name(value)));
  }
  return repr(runtime, value);
}

std::string repr_of_double(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  char buffer[32];
  const auto end = std::to_chars(buffer, std::end(buffer), number, std::chars_format::scientific);
  std::string_view text(buffer, static_cast<size_t>(end.ptr - buffer));
  std::string sign;
  if (text.starts_with('-')) {
    sign = "-";
    text.remove_prefix(1);
  }
  const size_t e = text.find('e');
  std::string digits(1, text[0]);
  if (e > 2) digits += text.substr(2, e - 2);
  const int exponent = std::atoi(std::string(text.substr(e + 1)).c_str());
  if (exponent < -4 || exponent >= 16) {
    std::string mantissa = digits.substr(0, 1);
    if (digits.size() > 1) mantissa += "." + digits.substr(1);
    return fmt::format("{}{}e{}{:02}", sign, mantissa, exponent < 0 ? '-' : '+',
                       std::abs(exponent));
  }
  if (exponent < 0)
    return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  const auto whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) {
    return sign + digits + std::string(whole - digits.size(), '0') + ".0";
  }
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

std::string repr_of_text(std::string_view text) {
  const bool single = text.find('\'') != text.npos && text.find('"') == text.npos;
  const char quote = single ? '"' : '\'';
  std::string out(1, quote);
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t c = next_char(text, at);
    if (c == '\\' || c == static_cast<char32_t>(quote)) {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    } else if (is_printable_char(c)) {
      out += text.substr(begin, at - begin);
    } else if (c < 0x100) {
      out += fmt::format("\\x{:02x}", static_cast<uint32_t>(c));
    } else if (c < 0x10000) {
      out += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
    } else {
      out += fmt::format("\\U{:08x}", static_cast<uint32_t>(c));
    }
  }
  return out + quote;
}

Text escape_html(const Text& text) {
  if (text.markup) return text;
  TextBuilder out;
  size_t done = 0;
  for (size_t i = 0; i < text.bytes.size(); ++i) {
    const char* name = nullptr;
    switch (text.bytes[i]) {
      case '&':
        name = "&amp;";
        break;
      case '<':
        name = "&lt;";
        break;
      case '>':
        name = "&gt;";
        break;
      case '"':
        name = "&#34;";
        break;
      case '\'':
        name = "&#39;";
        break;
      default:
        continue;
    }
    out.add(text, done, i);
    any_foreign(text, i, i + 1) ? out.add_foreign(name) : out.add(name);
    done = i + 1;
  }
  out.add(text, done, text.bytes.size());
  Text result = out.finish();
  result.markup = true;
  return result;
}

}  // namespace leash::jinja

#include "models/jinja/to_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "models/jinja/compare.h"
#include "models/jinja/repr.h"
#include "models/jinja/runtime.h"

namespace leash::jinja {
namespace {

std::string json_number(double number) {
  if (std::isnan(number)) return "NaN";
  if (std::isinf(number)) return number < 0 ? "-Infinity" : "Infinity";
  return repr_of_double(number);
}

// What stands for a character; empty where it stands for itself.
std::string json_escape(char32_t c, bool ensure_ascii) {
  switch (c) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    default:
      break;
  }
  const auto code = static_cast<uint32_t>(c);
  if (code < 0x20) return fmt::format("\\u{:04x}", code);
  if (!ensure_ascii || code < 0x7F) return "";
  if (code < 0x10000) return fmt::format("\\u{:04x}", code);
  const uint32_t rest = code - 0x10000;
  return fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
}

class JsonWriter {
 public:
  JsonWriter(Runtime& runtime, const JsonStyle& style) : runtime_(runtime), style_(style) {}

  void write(const Value& value) {
    const Deeper deeper(runtime_.budget);
    if (const Text* text = value.text()) {
      write_text(*text);
    } else if (value.none()) {
      out_.add("null");
    } else if (const auto* truth = value.get<bool>()) {
      out_.add(*truth ? "true" : "false");
    } else if (const auto* whole = value.get<int64_t>()) {
      out_.add(fmt::format("{}", *whole));
    } else if (const auto* number = value.get<double>()) {
      out_.add(json_number(*number));
    } else if (const Sequence* sequence = value.sequence()) {
      write_all('[', ']', sequence->items, [&](const Value& item) { write(item); });
    } else if (const Dict* dict = value.dict()) {
      write_dict(*dict);
    } else {
      throw Failure(fmt::format("Object of type {} is not JSON serializable", type_name(value)));
    }
  }
  Text finish() { return out_.finish(); }

 private:
  void write_text(const Text& text) {
    runtime_.budget.charge_bytes(text.bytes.size());
    out_.add("\"");
    size_t done = 0;
    for (size_t at = 0; at < text.bytes.size();) {
      const size_t begin = at;
      const std::string escaped = json_escape(next_char(text.bytes, at), style_.ensure_ascii);
      if (escaped.empty()) continue;
      out_.add(text, done, begin);
      any_foreign(text, begin, at) ? out_.add_foreign(escaped) : out_.add(escaped);
      done = at;
    }
    out_.add(text, done, text.bytes.size());
    out_.add("\"");
  }

  void break_line() {
    if (!style_.indented) return;
    out_.add("\n");
    for (int i = 0; i < level_; ++i) out_.add(style_.indent);
    runtime_.budget.charge_bytes(style_.indent.size() * static_cast<size_t>(level_));
  }

  template <class Items, class Write>
  void write_all(char open, char close, const Items& items, const Write& write_item) {
    out_.add(std::string_view(&open, 1));
    if (!items.empty()) {
      ++level_;
      break_line();
      bool first = true;
      for (const auto& item : items) {
        if (!first) {
          out_.add(style_.item_separator);
          break_line();
        }
        first = false;
        runtime_.budget.charge_bytes(style_.item_separator.size() + style_.key_separator.size());
        write_item(item);
      }
      --level_;
      break_line();
    }
    out_.add(std::string_view(&close, 1));
  }

  void write_dict(const Dict& dict) {
    auto entries = dict.entries;
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(), [&](const auto& a, const auto& b) {
        return less(runtime_, a.first, b.first);
      });
    }
    write_all('{', '}', entries, [&](const auto& entry) {
      write_key(entry.first);
      out_.add(style_.key_separator);
      write(entry.second);
    });
  }

  void write_key(const Value& key) {
    if (const Text* text = key.text()) return write_text(*text);
    std::string name;
    if (key.none()) {
      name = "null";
    } else if (const auto* truth = key.get<bool>()) {
      name = *truth ? "true" : "false";
    } else if (const auto* whole = key.get<int64_t>()) {
      name = fmt::format("{}", *whole);
    } else if (const auto* number = key.get<double>()) {
      name = json_number(*number);
    } else {
      throw Failure(
          fmt::format("keys must be str, int, float, bool or None, not {}", type_name(key)));
    }
    write_text(Text(name));
  }

  Runtime& runtime_;
  const JsonStyle& style_;
  TextBuilder out_;
  int level_ = 0;
};

}  // namespace

Text to_json(Runtime& runtime, const Value& value, const JsonStyle& style) {
  JsonWriter writer(runtime, style);
  writer.write(value);
  return writer.finish();
}

}  // namespace leash::jinja

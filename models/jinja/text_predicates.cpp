// str.isdigit and its kin.
#include <utf8proc.h>

#include <map>

#include "models/jinja/methods.h"
#include "models/jinja/runtime.h"

namespace leash::jinja {
namespace {

bool is_letter(char32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c)) == UTF8PROC_CATEGORY_ND;
}

// Numbers that are no decimal digits (½, ², 五): which of them Python calls digits and which
// numeric stands in tables that are not here.
void refuse_odd_number(char32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  const bool maybe = category == UTF8PROC_CATEGORY_NO || category == UTF8PROC_CATEGORY_NL;
  if (maybe) throw Failure("whether a character is a digit is not known here");
}

bool is_digit(char32_t c) {
  refuse_odd_number(c);
  return is_decimal(c);
}

bool is_numeric(char32_t c) {
  refuse_odd_number(c);
  if (c >= 0x3400 && is_letter(c))
    throw Failure("whether a character is numeric is not known here");
  return is_decimal(c);
}

bool is_alphanumeric(char32_t c) {
  refuse_odd_number(c);
  return is_letter(c) || is_decimal(c);
}

template <bool (*is)(char32_t)>
Value all_are(Runtime& runtime, const Value& self, Arguments arguments) {
  bind_arguments("isalpha", std::move(arguments), {}, 0);
  const std::string& text = self.text()->bytes;
  runtime.budget.charge_bytes(text.size());
  for (size_t at = 0; at < text.size();) {
    if (!is(next_char(text, at))) return false;
  }
  return !text.empty();
}

Value is_ascii_text(Runtime&, const Value& self, Arguments arguments) {
  bind_arguments("isascii", std::move(arguments), {}, 0);
  return self.text()->ascii();
}

Value is_printable_text(Runtime& runtime, const Value& self, Arguments arguments) {
  if (self.text()->bytes.empty()) return true;
  return all_are<is_printable_char>(runtime, self, std::move(arguments));
}

template <bool (*is)(char32_t), bool (*other)(char32_t)>
Value one_case(Runtime& runtime, const Value& self, Arguments arguments) {
  bind_arguments("islower", std::move(arguments), {}, 0);
  const std::string& text = self.text()->bytes;
  runtime.budget.charge_bytes(text.size());
  bool any = false;
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next_char(text, at);
    if (other(c) || is_title_char(c)) return false;
    any = any || is(c);
  }
  return any;
}

Value is_title_text(Runtime& runtime, const Value& self, Arguments arguments) {
  bind_arguments("istitle", std::move(arguments), {}, 0);
  const std::string& text = self.text()->bytes;
  runtime.budget.charge_bytes(text.size());
  bool any = false, inside = false;
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next_char(text, at);
    const bool upper = is_upper_char(c) || is_title_char(c);
    if (upper ? inside : is_lower_char(c) && !inside) return false;
    inside = is_cased(c);
    any = any || inside;
  }
  return any;
}

bool starts_identifier(char32_t c) { return c == '_' || is_letter(c); }

Value is_identifier(Runtime& runtime, const Value& self, Arguments arguments) {
  bind_arguments("isidentifier", std::move(arguments), {}, 0);
  const std::string& text = self.text()->bytes;
  runtime.budget.charge_bytes(text.size());
  if (!self.text()->ascii()) throw Failure("isidentifier is known here for ASCII alone");
  for (size_t at = 0; at < text.size();) {
    const bool first = at == 0;
    const char32_t c = next_char(text, at);
    if (!starts_identifier(c) && (first || !is_decimal(c))) return false;
  }
  return !text.empty();
}

}  // namespace

Method text_predicate(std::string_view name) {
  static const std::map<std::string_view, Method> kPredicates = {
      {"isalnum", all_are<is_alphanumeric>},
      {"isalpha", all_are<is_letter>},
      {"isascii", is_ascii_text},
      {"isdecimal", all_are<is_decimal>},
      {"isdigit", all_are<is_digit>},
      {"isidentifier", is_identifier},
      {"islower", one_case<is_lower_char, is_upper_char>},
      {"isnumeric", all_are<is_numeric>},
      {"isprintable", is_printable_text},
      {"isspace", all_are<is_python_space>},
      {"istitle", is_title_text},
      {"isupper", one_case<is_upper_char, is_lower_char>}};
  const auto found = kPredicates.find(name);
  return found == kPredicates.end() ? nullptr : found->second;
}

}  // namespace leash::jinja

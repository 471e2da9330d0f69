// Over utf8proc's tables, with an ordering of marks that takes no quadratic time.
#include "models/text/unicode_forms.h"

#include <c10/util/Exception.h>
#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "models/text/unicode_ranges.h"
#include "models/text/utf8.h"

namespace leash {
namespace {

constexpr char32_t kCapitalIWithDot = 0x130;  // the only capital letter whose small one is two
constexpr std::string_view kSmallIWithDot = "i\xCC\x87";

struct FormRules {
  bool compose;
  bool compatible;
  utf8proc_option_t options() const {
    return static_cast<utf8proc_option_t>(UTF8PROC_STABLE |
                                          (compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) |
                                          (compatible ? UTF8PROC_COMPAT : 0));
  }
  bool stays(char32_t c) const {
    return compatible ? is_compatibly_whole(c) : is_canonically_whole(c);
  }
};

FormRules rules_of(UnicodeForm form) {
  return {.compose = form == UnicodeForm::nfc || form == UnicodeForm::nfkc,
          .compatible = form == UnicodeForm::nfkc || form == UnicodeForm::nfkd};
}

bool is_ascii(char c) { return static_cast<uint8_t>(c) < 0x80; }

// The decomposition, character by character.
std::vector<utf8proc_int32_t> decomposed(std::string_view text, const FormRules& rules) {
  constexpr utf8proc_ssize_t kMost = 32;  // of one character; Unicode's longest is 18
  std::vector<utf8proc_int32_t> chars;
  chars.reserve(text.size());
  for_each_char(text, [&](char32_t c, std::string_view) {
    const auto value = static_cast<utf8proc_int32_t>(c);
    if (rules.stays(c)) {
      chars.push_back(value);
      return;
    }
    utf8proc_int32_t parts[kMost];
    const auto count = utf8proc_decompose_char(value, parts, kMost, rules.options(), nullptr);
    TORCH_CHECK(count >= 0 && count <= kMost, "normalisation failed: ", utf8proc_errmsg(count));
    chars.insert(chars.end(), parts, parts + count);
  });
  return chars;
}

// Marks behind one letter by their class (Unicode's canonical ordering). utf8proc's own exchanges
// neighbours, which for thousands of marks takes minutes.
void order_marks(std::vector<utf8proc_int32_t>& chars) {
  const auto mark = [](utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; };
  for (auto begin = chars.begin(); begin != chars.end();) {
    begin = std::find_if(begin, chars.end(), [&](auto c) { return mark(c) != 0; });
    const auto end = std::find_if(begin, chars.end(), [&](auto c) { return mark(c) == 0; });
    std::stable_sort(begin, end, [&](auto a, auto b) { return mark(a) < mark(b); });
    begin = end;
  }
}

}  // namespace

std::string to_form(std::string_view text, UnicodeForm form) {
  if (std::ranges::all_of(text, is_ascii)) return std::string(text);
  const FormRules rules = rules_of(form);
  std::vector<utf8proc_int32_t> chars = decomposed(text, rules);
  order_marks(chars);
  auto size = static_cast<utf8proc_ssize_t>(chars.size());
  if (rules.compose) size = utf8proc_normalize_utf32(chars.data(), size, rules.options());
  TORCH_CHECK(size >= 0, "normalisation failed: ", utf8proc_errmsg(size));
  std::string result;
  result.reserve(text.size());
  for (utf8proc_ssize_t i = 0; i < size; ++i) {
    append_utf8(result, static_cast<char32_t>(chars[static_cast<size_t>(i)]));
  }
  return result;
}

std::string to_lower(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for_each_char(text, [&](char32_t c, std::string_view) {
    if (c == kCapitalIWithDot) {
      result += kSmallIWithDot;
    } else {
      append_utf8(result,
                  static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
    }
  });
  return result;
}

}  // namespace leash

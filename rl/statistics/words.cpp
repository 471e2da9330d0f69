// Word splitting by utf8proc's tables.
#include "rl/statistics/words.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <set>
#include <utility>

namespace leash {
namespace {

const utf8proc_uint8_t* bytes(std::string_view text) {
  return reinterpret_cast<const utf8proc_uint8_t*>(text.data());
}

// The code point at the start of `text` and its length in bytes; -1 and 1 where there is none.
struct CodePoint {
  utf8proc_int32_t value = -1;
  size_t length = 1;
};
CodePoint first_code_point(std::string_view text) {
  utf8proc_int32_t value = -1;
  const auto length =
      utf8proc_iterate(bytes(text), static_cast<utf8proc_ssize_t>(text.size()), &value);
  if (length < 1) return {};
  return {value, static_cast<size_t>(length)};
}

std::string valid_utf8(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const CodePoint point = first_code_point(text);
    result += point.value < 0 ? std::string_view(" ") : text.substr(0, point.length);
    text.remove_prefix(point.length);
  }
  return result;
}

// Composed and case-folded. `text` is valid UTF-8.
std::string fold(const std::string& text) {
  utf8proc_uint8_t* folded = nullptr;
  const auto options =
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD);
  const auto length =
      utf8proc_map(bytes(text), static_cast<utf8proc_ssize_t>(text.size()), &folded, options);
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(folded, &std::free);
  if (length < 0) throw std::bad_alloc();  // the only failure left for valid UTF-8
  return {reinterpret_cast<const char*>(folded), static_cast<size_t>(length)};
}

bool in_word(utf8proc_int32_t point) {
  if (point < 0) return false;
  switch (utf8proc_category(point)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return true;
    default:
      return false;
  }
}

bool is_apostrophe(utf8proc_int32_t point) { return point == '\'' || point == 0x2019; }

}  // namespace

std::vector<std::string> words_of(std::string_view text) {
  const std::string folded = fold(valid_utf8(text));
  std::vector<std::string> words;
  std::string word;
  for (std::string_view rest = folded; !rest.empty();) {
    const CodePoint point = first_code_point(rest);
    const std::string_view here = rest.substr(0, point.length);
    rest.remove_prefix(point.length);
    if (in_word(point.value)) {
      word += here;
    } else if (is_apostrophe(point.value) && !word.empty() && !rest.empty() &&
               in_word(first_code_point(rest).value)) {
      word += '\'';
    } else if (!word.empty()) {
      words.push_back(std::exchange(word, {}));
    }
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

double distinct_bigram_share(const std::vector<std::string>& words) {
  if (words.size() < 2) return 0.0;
  std::set<std::pair<std::string_view, std::string_view>> different;
  for (size_t i = 0; i + 1 < words.size(); ++i) different.emplace(words[i], words[i + 1]);
  return static_cast<double>(different.size()) / static_cast<double>(words.size() - 1);
}

}  // namespace leash

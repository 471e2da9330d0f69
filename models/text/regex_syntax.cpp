// From Oniguruma's syntax to PCRE2's. Both write most things alike; where the same letters mean
// different sets, the set is spelled out, and what tokenizers do not use is refused.
#include <fmt/core.h>

#include <cctype>
#include <string>
#include <string_view>

#include "models/errors.h"
#include "models/text/regex_split.h"

namespace leash {
namespace {

// Oniguruma's \w; PCRE2's own has no combining marks. Outside a character class it has the numbers
// of Latin-1 that are no digits as well (² ³ ¹ ¼ ½ ¾; compared with tokenizers 0.23.3 over all
// characters).
constexpr std::string_view kWordSet = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
constexpr std::string_view kMoreOutside = R"(\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE})";

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  std::string run() {
    while (i_ < pattern_.size()) {
      const char c = pattern_[i_];
      if (c == '\\') {
        escape();
      } else if (in_class_) {
        class_member(c);
      } else if (c == '[') {
        open_class();
      } else if (c == '(') {
        group();
      } else if (c == '{') {
        interval();
      } else {
        copy(1);
      }
    }
    if (in_class_) fail("a character class that does not end");
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw FormatError(fmt::format("the regular expression '{}' is not supported: {} at offset {}",
                                  pattern_, what, i_));
  }
  std::string_view rest() const { return pattern_.substr(i_); }
  void copy(size_t n) {
    out_ += pattern_.substr(i_, n);
    i_ += n;
  }
  void replace(size_t n, std::string_view by) {
    out_ += by;
    i_ += n;
  }

  void escape() {
    if (i_ + 1 >= pattern_.size()) fail("a backslash at the end");
    const char c = pattern_[i_ + 1];
    switch (c) {
      case 's':  // PCRE2's \s has U+180E, which is no white space since Unicode 6.3
        return replace(2, R"(\p{White_Space})");
      case 'S':
        return replace(2, R"(\P{White_Space})");
      case 'd':
        return replace(2, R"(\p{Nd})");
      case 'D':
        return replace(2, R"(\P{Nd})");
      case 'w':
        return replace(
            2, in_class_ ? std::string(kWordSet) : fmt::format("[{}{}]", kWordSet, kMoreOutside));
      case 'W':
        if (in_class_) fail("\\W in a character class");
        return replace(2, fmt::format("[^{}{}]", kWordSet, kMoreOutside));
      case 'b':
      case 'B':
        if (in_class_) fail(fmt::format("\\{} in a character class", c));
        return boundary(c == 'b');
      case 'v':  // a character class in PCRE2
        return replace(2, R"(\x0B)");
      case 'p':
      case 'P':
        return property();
      case 'u':
        return code_unit();
      default:
        break;
    }
    const bool letter = std::isalpha(static_cast<unsigned char>(c)) != 0;
    if (letter && std::string_view("rntfaexAzZ").find(c) == std::string_view::npos) {
      fail(fmt::format("\\{}", c));
    }
    copy(2);
  }

  // PCRE2's own goes by its own \w.
  void boundary(bool is_one) {
    const std::string word = fmt::format("[{}{}]", kWordSet, kMoreOutside);
    replace(2, is_one ? fmt::format("(?:(?<={0})(?!{0})|(?<!{0})(?={0}))", word)
                      : fmt::format("(?:(?<={0})(?={0})|(?<!{0})(?!{0}))", word));
  }

  // \p{L}; a longer name is a script, which PCRE2 would take for script extensions.
  void property() {
    const size_t close = pattern_.find('}', i_);
    if (i_ + 2 >= pattern_.size() || pattern_[i_ + 2] != '{' || close == std::string_view::npos) {
      fail("a property without braces");
    }
    std::string_view name = pattern_.substr(i_ + 3, close - i_ - 3);
    const bool negated = name.starts_with('^');
    if (negated) name.remove_prefix(1);
    out_ += fmt::format("\\{}{{{}{}{}}}", pattern_[i_ + 1], negated ? "^" : "",
                        name.size() > 2 ? "sc:" : "", name);
    i_ = close + 1;
  }

  void code_unit() {
    const std::string_view digits = pattern_.substr(i_ + 2).substr(0, 4);
    if (digits.size() < 4) fail("\\u without four digits");
    replace(6, fmt::format("\\x{{{}}}", digits));
  }

  void open_class() {
    in_class_ = true;
    copy(1);
    if (rest().starts_with('^')) copy(1);
    if (rest().starts_with(']')) copy(1);  // a literal one in both
  }

  void class_member(char c) {
    if (c == '[') fail("a character class inside another");
    if (rest().starts_with("&&")) fail("an intersection of character classes");
    if (c == ']') in_class_ = false;
    copy(1);
  }

  // Only groups that mean the same in both.
  void group() {
    copy(1);
    // An instruction to PCRE2 (a verb), which lifts bounds.
    if (rest().starts_with('*')) fail("a group that begins with '*'");
    if (!rest().starts_with('?')) return;
    for (const std::string_view kind :
         {"?:", "?=", "?!", "?>", "?<=", "?<!", "?i:", "?i)", "?-i:", "?-i)"}) {
      if (rest().starts_with(kind)) return copy(kind.size());
    }
    fail("this kind of group");
  }

  // {,3} has no meaning in this PCRE2, and {1,3}+ another one.
  void interval() {
    const size_t close = pattern_.find('}', i_);
    if (close == std::string_view::npos) fail("an interval that does not end");
    if (close + 1 < pattern_.size() && pattern_[close + 1] == '+') fail("a repeated interval");
    if (rest().starts_with("{,")) replace(1, "{0");
    copy(close + 1 - i_);
  }

  std::string_view pattern_;
  std::string out_;
  size_t i_ = 0;
  bool in_class_ = false;
};

}  // namespace

std::string oniguruma_to_pcre2(const std::string& pattern) { return Translator(pattern).run(); }

}  // namespace leash

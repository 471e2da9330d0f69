// One pass over a text from left to right; what a number is stands in numbers.h.
#include "rl/answers/number_scanner.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

namespace leash {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::optional<double> finite_number(const std::string& digits) {
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error == std::errc::result_out_of_range && end == digits.data() + digits.size()) {
    // Too small is zero, too large is no number.
    const size_t e = digits.find('e');
    if (e != digits.npos && digits.compare(e, 2, "e-") == 0) return 0.0;
    return std::nullopt;
  }
  if (error != std::errc() || end != digits.data() + digits.size() || !std::isfinite(value)) {
    return std::nullopt;
  }
  return value;
}

constexpr int kDeepestFraction = 8;

class NumberScanner {
 public:
  NumberScanner(std::string_view text, const NumberRules& rules, int depth)
      : text_(text), rules_(rules), depth_(depth) {}

  NumbersInText run() {
    while (at_ < text_.size()) step();
    return std::move(found_);
  }

 private:
  // What was read of one number.
  struct Read {
    double value = 0;
    bool whole = false;
    std::string digits{};  // of a whole one
  };

  char here(size_t offset = 0) const {
    return at_ + offset < text_.size() ? text_[at_ + offset] : '\0';
  }
  char before(size_t at) const { return at > 0 ? text_[at - 1] : '\0'; }
  size_t skip_spaces(size_t at) const {
    while (at < text_.size() && text_[at] == ' ') ++at;
    return at;
  }
  size_t skip_digits(size_t at) const {
    while (at < text_.size() && is_digit(text_[at])) ++at;
    return at;
  }
  bool follows(size_t at, std::string_view what) const {
    return text_.substr(at).starts_with(what);
  }

  void step() {
    if (here() == '\\') return command();
    if (here() == '^') return exponent();
    if (is_digit(here()) || (here() == '.' && is_digit(here(1)))) return number();
    ++at_;
  }

  // Behind the bracket that closes the one at `at`; npos where none does.
  size_t behind_group(size_t at) const {
    int open = 0;
    for (; at < text_.size(); ++at) {
      if (text_[at] == '\\') {
        ++at;
      } else if (text_[at] == '{') {
        ++open;
      } else if (text_[at] == '}' && --open == 0) {
        return at + 1;
      }
    }
    return text_.npos;
  }

  // A LaTeX command: \frac is a number, \sqrt hides its content, others are passed over.
  void command() {
    const size_t begin = at_++;
    while (is_letter(here())) ++at_;
    const std::string_view name = text_.substr(begin + 1, at_ - begin - 1);
    if (name.empty()) {
      at_ = std::min(at_ + 1, text_.size());  // \{ and the like
    } else if (name == "frac" || name == "dfrac" || name == "tfrac") {
      fraction_command(begin);
    } else if (name == "sqrt") {
      found_.expression = true;
      if (here() == '[') at_ = std::min(text_.find(']', at_), text_.size() - 1) + 1;
      pass_group();
    } else if (name == "pi") {
      found_.expression = true;
    }
  }

  // What one \sqrt or ^ belongs to: a group, or one character with the digits behind it.
  void pass_group() {
    at_ = skip_spaces(at_);
    if (here() == '{') {
      at_ = std::min(behind_group(at_), text_.size());
    } else if (is_digit(here())) {
      at_ = skip_digits(at_);
    } else if (at_ < text_.size() && here() != '\\') {
      ++at_;
    }
  }

  // Exponents are no numbers; those of a unit (cm^2, \text{m}^2, ^\circ) are no expression either.
  void exponent() {
    size_t letters = 0;
    while (letters < at_ && is_letter(text_[at_ - letters - 1])) ++letters;
    const bool unit = letters > 1 || before(at_) == '}';
    ++at_;
    const size_t behind = skip_spaces(at_ + (here() == '{' ? 1 : 0));
    if (!unit && !follows(behind, "\\circ")) found_.expression = true;
    if (here() == '-' || here() == '+') ++at_;
    pass_group();
  }

  // One argument of \frac: {…}, or a digit.
  std::optional<Read> argument() {
    at_ = skip_spaces(at_);
    std::string_view content = text_.substr(std::min(at_, text_.size()), 1);
    if (here() == '{') {
      const size_t end = behind_group(at_);
      if (end == text_.npos) {
        at_ = text_.size();
        return std::nullopt;
      }
      content = text_.substr(at_ + 1, end - at_ - 2);
      at_ = end;
    } else {
      at_ = std::min(at_ + 1, text_.size());
    }
    if (depth_ == kDeepestFraction) return std::nullopt;
    const NumbersInText inside = NumberScanner(content, rules_, depth_ + 1).run();
    if (inside.numbers.size() != 1 || inside.expression) return std::nullopt;
    if (content.find_first_of("+*/=") != content.npos) return std::nullopt;
    return Read{.value = inside.numbers[0].value};
  }

  void fraction_command(size_t begin) {
    const auto above = argument();
    const auto below = argument();
    if (!above || !below || below->value == 0) {
      found_.expression = true;
      return;
    }
    add(begin, {.value = above->value / below->value});
  }

  // Digits, groups and decimals from at_ on; at_ moves behind them. None where they make a chain.
  std::optional<Read> mantissa() {
    const size_t begin = at_;
    at_ = skip_digits(at_);
    std::string digits(text_.substr(begin, at_ - begin));
    if (digits.size() >= 1 && digits.size() <= 3 && digits[0] != '0') {
      while (here() == ',' && skip_digits(at_ + 1) == at_ + 4) {
        digits += text_.substr(at_ + 1, 3);
        at_ += 4;
      }
    }
    bool whole = true;
    if (here() == '.' && is_digit(here(1))) {
      whole = false;
      const size_t end = skip_digits(at_ + 1);
      digits += text_.substr(at_, end - at_);
      at_ = end;
    }
    if (here() == '.' && is_digit(here(1))) {  // a version, a date
      while (here() == '.' && is_digit(here(1))) at_ = skip_digits(at_ + 1);
      return std::nullopt;
    }
    if (digits.front() == '.') digits.insert(digits.begin(), '0');
    if ((here() == 'e' || here() == 'E') && exponent_digits()) {
      size_t end = at_ + 1;
      if (text_[end] == '-' || text_[end] == '+') ++end;
      digits += 'e';
      if (text_[at_ + 1] == '-') digits += '-';
      digits += text_.substr(end, skip_digits(end) - end);
      at_ = skip_digits(end);
      whole = false;
    }
    const auto value = finite_number(digits);
    if (!value) return std::nullopt;
    if (!whole) return Read{.value = *value};
    digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size() - 1));
    return Read{.value = *value, .whole = true, .digits = digits};
  }

  // Whether the e at at_ begins an exponent and no word.
  bool exponent_digits() const {
    const size_t sign = here(1) == '-' || here(1) == '+' ? 1 : 0;
    if (!is_digit(here(1 + sign))) return false;
    const size_t end = skip_digits(at_ + 1 + sign);
    return end == text_.size() || !is_letter(text_[end]);
  }

  // k of "^k" or "^{k}" at `at`, and where it ends; none where that is no whole number.
  std::optional<std::pair<int, size_t>> power(size_t at) const {
    if (at >= text_.size() || text_[at] != '^') return std::nullopt;
    const bool group = follows(at + 1, "{");
    const size_t sign = skip_spaces(at + (group ? 2 : 1));
    const bool negative = follows(sign, "-");
    const size_t begin = sign + (negative || follows(sign, "+") ? 1 : 0);
    const size_t end = skip_digits(begin);
    if (end == begin || end - begin > 3) return std::nullopt;
    const size_t close = group ? skip_spaces(end) : end;
    if (group && !follows(close, "}")) return std::nullopt;
    int exponent = 0;
    std::from_chars(text_.data() + begin, text_.data() + end, exponent);
    return std::pair(negative ? -exponent : exponent, close + (group ? 1 : 0));
  }

  // "× 10^k" behind a number.
  std::optional<std::pair<int, size_t>> times_power_of_ten() const {
    size_t at = skip_spaces(at_);
    bool times = false;
    for (const std::string_view sign : {"\\times", "\\cdot", "*", "x"}) {
      if (!follows(at, sign)) continue;
      at = skip_spaces(at + sign.size());
      times = true;
      break;
    }
    return times && follows(at, "10^") ? power(at + 2) : std::nullopt;
  }

  static std::optional<Read> scaled(double mantissa, int exponent) {
    // Through the decimal text, which is rounded once.
    char text[64];
    const auto [end, error] =
        std::to_chars(text, text + sizeof text, mantissa, std::chars_format::scientific);
    if (error != std::errc()) return std::nullopt;
    std::string digits(text, end);
    const size_t e = digits.find('e');
    int own = 0;
    const char* begin = digits.data() + e + (digits[e + 1] == '+' ? 2 : 1);
    std::from_chars(begin, digits.data() + digits.size(), own);
    const auto value = finite_number(digits.substr(0, e + 1) + std::to_string(own + exponent));
    return value ? std::optional(Read{.value = *value}) : std::nullopt;
  }

  // Passes over the rest of an expression: it is no number.
  void refuse() { found_.expression = true; }

  void number() {
    const size_t begin = at_;
    const char previous = before(begin);
    if (is_letter(previous) || previous == '_') {
      if (!behind_command(begin)) {
        at_ = std::max(skip_digits(at_), at_ + 1);
        if (here() == '.' && is_digit(here(1))) at_ = skip_digits(at_ + 1);
        return;
      }
    }
    std::optional<Read> read = mantissa();
    if (!read) return refuse();
    if (read->digits == "10" && power(at_)) {  // 10^n alone
      const auto found = power(at_);
      at_ = found->second;
      read = scaled(1, found->first);
    } else if (here() == '^' && !is_degree()) {
      exponent();
      return refuse();
    } else if (const auto found = times_power_of_ten()) {
      at_ = found->second;
      read = scaled(read->value, found->first);
    }
    if (read && is_division()) read = divided(*read);
    if (read && read->whole) read = mixed(*read);
    if (!read || is_factor()) return refuse();
    add(begin, *read);
  }

  // Whether the letters before `at` are the name of a LaTeX command (\cdot5).
  bool behind_command(size_t at) const {
    while (at > 0 && is_letter(text_[at - 1])) --at;
    return before(at) == '\\';
  }

  // 25^\\circ
  bool is_degree() const { return follows(at_, "^\\circ") || follows(at_, "^{\\circ"); }

  bool is_division() const {
    const size_t slash = skip_spaces(at_);
    if (!follows(slash, "/")) return false;
    const size_t digits = skip_spaces(slash + 1);
    return digits < text_.size() && is_digit(text_[digits]);
  }

  // a/b; none of a chain of them, and of a division by zero.
  std::optional<Read> divided(const Read& above) {
    at_ = skip_spaces(skip_spaces(at_) + 1);
    const auto below = mantissa();
    bool chain = false;
    while (is_division()) {
      at_ = skip_spaces(skip_spaces(at_) + 1);
      (void)mantissa();
      chain = true;
    }
    if (!below || chain || below->value == 0) return std::nullopt;
    return Read{.value = above.value / below->value};
  }

  // "1 1/2" and "1\frac{1}{2}".
  std::optional<Read> mixed(const Read& whole) {
    const size_t before_fraction = at_;
    const size_t next = here() == ' ' ? at_ + 1 : at_;
    for (const std::string_view name : {"\\frac", "\\dfrac", "\\tfrac"}) {
      if (!follows(next, name)) continue;
      at_ = next + name.size();
      const auto above = argument();
      const auto below = argument();
      if (above && below && above->value > 0 && above->value < below->value) {
        return Read{.value = whole.value + above->value / below->value};
      }
      return std::nullopt;  // a product
    }
    if (next == at_ || next >= text_.size() || !is_digit(text_[next])) return whole;
    at_ = next;
    const auto above = mantissa();
    if (above && above->whole && here() == '/' && is_digit(here(1))) {
      ++at_;
      const auto below = mantissa();
      if (below && below->whole && above->value < below->value && !is_division() && here() != '^') {
        return Read{.value = whole.value + above->value / below->value};
      }
    }
    at_ = before_fraction;
    return whole;
  }

  // Whether what was read is multiplied with a root or with π.
  bool is_factor() const {
    const size_t at = skip_spaces(at_);
    return follows(at, "\\sqrt") || follows(at, "\\pi");
  }

  // Where the sign of a number at `begin` stands; npos where it has none.
  size_t sign_of(size_t begin) const {
    size_t at = begin;
    for (const std::string_view currency : {"$", "\xE2\x82\xAC", "\xC2\xA3"}) {
      if (at >= currency.size() && follows(at - currency.size(), currency)) {
        at -= currency.size();
        break;
      }
    }
    if (at == 0 || (text_[at - 1] != '-' && text_[at - 1] != '+')) return text_.npos;
    const char previous = before(at - 1);
    const bool binary = is_letter(previous) || is_digit(previous) ||
                        std::string_view(")]}-+.").find(previous) != std::string_view::npos;
    return binary && previous != '\0' ? text_.npos : at - 1;
  }

  void add(size_t begin, Read read) {
    const size_t sign = sign_of(begin);
    const bool negative = sign != text_.npos && text_[sign] == '-';
    FoundNumber number{.value = negative ? -read.value : read.value,
                       .text = std::string(text_.substr(begin, at_ - begin))};
    if (sign != text_.npos) number.text.insert(0, 1, text_[sign]);
    const size_t percent = skip_spaces(at_);
    if (follows(percent, "%")) {
      at_ = percent + 1;
      number.value /= rules_.percent;
      read.whole = read.whole && rules_.percent == 1;
    }
    if (read.whole) number.digits = (negative && read.digits != "0" ? "-" : "") + read.digits;
    if (std::isfinite(number.value)) found_.numbers.push_back(std::move(number));
  }

  std::string_view text_;
  const NumberRules& rules_;
  int depth_;
  size_t at_ = 0;
  NumbersInText found_;
};

}  // namespace

NumbersInText scan_numbers(std::string_view text, const NumberRules& rules) {
  return NumberScanner(text, rules, 0).run();
}

}  // namespace leash

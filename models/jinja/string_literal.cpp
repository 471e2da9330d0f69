#include "models/jinja/string_literal.h"

#include <fmt/format.h>

#include <charconv>

#include "models/jinja/syntax_error.h"
#include "models/jinja/text.h"

namespace leash::jinja {
namespace {

class Unescaper {
 public:
  Unescaper(std::string_view literal, int line) : literal_(literal), line_(line) {}

  std::string text() {
    while (at_ < literal_.size()) {
      const char c = literal_[at_++];
      if (c == '\\' && at_ < literal_.size()) {
        escape();
      } else {
        out_ += c;
      }
    }
    return std::move(out_);
  }

 private:
  void escape() {
    constexpr std::string_view kNames = "\\'\"abfnrtv";
    constexpr std::string_view kMeant = "\\'\"\a\b\f\n\r\t\v";
    const char c = literal_[at_];
    if (const size_t known = kNames.find(c); known != kNames.npos) {
      out_ += kMeant[known];
      ++at_;
    } else if (c == '\n') {
      ++at_;
    } else if (c == 'x' || c == 'u' || c == 'U') {
      ++at_;
      number(c == 'x' ? 2 : c == 'u' ? 4 : 8, 16, /*exact=*/true);
    } else if (c >= '0' && c <= '7') {
      number(3, 8, /*exact=*/false);
    } else if (c == 'N') {
      throw SyntaxError(line_, "\\N{…} in a string is not supported");
    } else if (static_cast<unsigned char>(c) >= 0x80) {
      // Jinja2 has made ASCII of it by then, so that the backslash meets another one.
      const auto code = static_cast<uint32_t>(next_char(literal_, at_));
      out_ += code < 0x100     ? fmt::format("\\x{:02x}", code)
              : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                               : fmt::format("\\U{:08x}", code);
    } else {
      out_ += '\\';
    }
  }

  void number(size_t most, int base, bool exact) {
    const std::string_view digits = literal_.substr(at_, most);
    uint32_t code = 0;
    const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), code, base);
    const auto read = static_cast<size_t>(end.ptr - digits.data());
    const bool valid = code < 0x110000 && !(code >= 0xD800 && code < 0xE000);
    if ((exact && read != most) || end.ec != std::errc() || !valid) {
      throw SyntaxError(line_, "a string has an escape that stands for no character");
    }
    append_char(out_, static_cast<char32_t>(code));
    at_ += read;
  }

  std::string_view literal_;
  int line_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string unescape(std::string_view literal, int line) { return Unescaper(literal, line).text(); }

}  // namespace leash::jinja

#include "models/jinja/lexer.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/jinja/string_literal.h"
#include "models/jinja/syntax_error.h"
#include "models/jinja/text.h"

namespace leash::jinja {
namespace {

constexpr std::string_view kTokenSigns[] = {"**", "//", "==", "!=", ">=", "<=", "+", "-", "/",
                                            "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                            ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};

// One kind of line break, and none at the end of the template.
std::string normal_lines(std::string_view source) {
  std::string text;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      text += source[i];
      continue;
    }
    text += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

bool is_digit_char(char c) { return c >= '0' && c <= '9'; }
bool is_name_char(std::string_view text, size_t at) {
  const auto c = static_cast<unsigned char>(text[at]);
  return c >= 0x80 || std::isalnum(c) || c == '_';
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : text_(normal_lines(source)) {}

  std::vector<Token> tokens() {
    while (at_ < text_.size()) read_data();
    add(Token::Kind::end, "");
    return std::move(tokens_);
  }

 private:
  using Kind = Token::Kind;

  void add(Kind kind, std::string value) { tokens_.push_back({kind, std::move(value), line_}); }

  // Goes on to `to`, counting lines.
  void advance(size_t to) {
    line_ += static_cast<int>(std::count(text_.begin() + static_cast<int64_t>(at_),
                                         text_.begin() + static_cast<int64_t>(to), '\n'));
    line_starting_ = to > at_ ? text_[to - 1] == '\n' : line_starting_;
    at_ = to;
  }

  bool stands(std::string_view what, size_t at) const {
    return std::string_view(text_).substr(std::min(at, text_.size())).starts_with(what);
  }

  size_t skip_space(size_t at) const {
    return at + leading_space(std::string_view(text_).substr(std::min(at, text_.size())));
  }

  // Text up to the next tag, and the tag.
  void read_data() {
    size_t tag = at_;
    while ((tag = text_.find('{', tag)) != text_.npos) {
      const char next = tag + 1 < text_.size() ? text_[tag + 1] : '\0';
      if (next == '{' || next == '%' || next == '#') break;
      ++tag;
    }
    if (tag == text_.npos) {
      add(Kind::data, text_.substr(at_));
      return advance(text_.size());
    }
    const char kind = text_[tag + 1];
    const char sign = tag + 2 < text_.size() ? text_[tag + 2] : '\0';
    add_data(tag, sign, kind == '{');
    advance(tag);
    const size_t behind = tag + (sign == '-' || sign == '+' ? 3 : 2);
    if (kind == '#') return read_comment(behind);
    if (kind == '%' && read_raw(behind)) return;
    advance(behind);
    add(kind == '{' ? Kind::variable_begin : Kind::block_begin, "");
    read_tag(kind == '{');
  }

  // Without what the tag's sign, or lstrip_blocks, takes away before it.
  void add_data(size_t end, char sign, bool variable) {
    std::string data = text_.substr(at_, end - at_);
    if (sign == '-') {
      data.resize(data.size() - trailing_space(data));
    } else if (sign != '+' && !variable) {
      const size_t line = data.rfind('\n') + 1;  // npos + 1 is 0
      const bool at_line_start = line > 0 || line_starting_;
      if (at_line_start && line + leading_space(data.substr(line)) == data.size()) {
        data.resize(line);
      }
    }
    if (!data.empty()) add(Kind::data, std::move(data));
  }

  // Behind the end of a block, with the line break that trim_blocks takes; 0 where none ends here.
  size_t block_end(size_t at) const {
    if (stands("+%}", at)) return at + 3;
    if (stands("-%}", at)) return skip_space(at + 3);
    if (stands("%}", at)) return at + (stands("\n", at + 2) ? 3 : 2);
    return 0;
  }

  void read_comment(size_t at) {
    const size_t end = text_.find("#}", at);
    if (end == text_.npos && at == text_.size()) return advance(at);  // as for raw
    if (end == text_.npos) throw SyntaxError(line_, "Missing end of comment tag");
    const char sign = end > at ? text_[end - 1] : '\0';
    if (sign == '-') return advance(skip_space(end + 2));
    advance(end + (sign != '+' && stands("\n", end + 2) ? 3 : 2));
  }

  bool read_raw(size_t at) {
    at = skip_space(at);
    if (!stands("raw", at)) return false;
    at = skip_space(at + 3);
    if (stands("-%}", at)) {
      at = skip_space(at + 3);
    } else if (stands("%}", at)) {
      at += 2;
    } else {
      return false;
    }
    advance(at);
    for (size_t tag = at; (tag = text_.find("{%", tag)) != text_.npos; ++tag) {
      const char sign = tag + 2 < text_.size() ? text_[tag + 2] : '\0';
      size_t end = skip_space(tag + (sign == '-' || sign == '+' ? 3 : 2));
      if (!stands("endraw", end)) continue;
      end = block_end(skip_space(end + 6));
      if (end == 0) continue;
      add_data(tag, sign, false);
      advance(end);
      return true;
    }
    if (at == text_.size()) return true;  // as Jinja2, whose rule wants a character
    throw SyntaxError(line_, "Missing end of raw directive");
  }

  // Everything up to the end of a {{ }} or {% %}.
  void read_tag(bool variable) {
    open_.clear();
    while (at_ < text_.size()) {
      if (open_.empty()) {
        size_t end = 0;
        if (!variable) {
          end = block_end(at_);
        } else if (stands("-}}", at_)) {
          end = skip_space(at_ + 3);
        } else if (stands("}}", at_)) {
          end = at_ + 2;
        }
        if (end != 0) {
          add(variable ? Kind::variable_end : Kind::block_end, "");
          return advance(end);
        }
      }
      if (const size_t next = skip_space(at_); next != at_) {
        advance(next);
      } else {
        read_token();
      }
    }
  }

  void read_token() {
    const char c = text_[at_];
    if (is_digit_char(c)) return read_number();
    if (is_name_char(text_, at_)) return read_name();
    if (c == '\'' || c == '"') return read_string();
    read_sign();
  }

  size_t digits_from(size_t at) const {
    while (at < text_.size() &&
           (is_digit_char(text_[at]) ||
            (text_[at] == '_' && at + 1 < text_.size() && is_digit_char(text_[at + 1])))) {
      ++at;
    }
    return at;
  }

  // The end of a float that begins here; 0 where none does.
  size_t float_end() const {
    if (at_ > 0 && text_[at_ - 1] == '.') return 0;
    size_t end = digits_from(at_);
    bool is_float = false;
    if (end + 1 < text_.size() && text_[end] == '.' && is_digit_char(text_[end + 1])) {
      end = digits_from(end + 1);
      is_float = true;
    }
    if (end < text_.size() && (text_[end] | 0x20) == 'e') {
      size_t digits = end + 1;
      if (digits < text_.size() && (text_[digits] == '+' || text_[digits] == '-')) ++digits;
      if (digits < text_.size() && is_digit_char(text_[digits])) {
        end = digits_from(digits);
        is_float = true;
      }
    }
    return is_float ? end : 0;
  }

  size_t integer_end() const {
    const auto run = [&](size_t at, std::string_view digits) {
      const auto is = [&](size_t i) {
        return i < text_.size() &&
               digits.find(static_cast<char>(std::tolower(static_cast<unsigned char>(text_[i])))) !=
                   digits.npos;
      };
      size_t end = at;
      while (is(end) || (end < text_.size() && text_[end] == '_' && is(end + 1))) ++end;
      return end;
    };
    if (text_[at_] != '0') return run(at_, "0123456789");
    const char kind = at_ + 1 < text_.size() ? static_cast<char>(text_[at_ + 1] | 0x20) : '\0';
    const std::string_view digits = kind == 'x'   ? "0123456789abcdef"
                                    : kind == 'o' ? "01234567"
                                    : kind == 'b' ? "01"
                                                  : "";
    if (!digits.empty()) {
      if (const size_t end = run(at_ + 2, digits); end > at_ + 2) return end;
    }
    return run(at_, "0");
  }

  void read_number() {
    const size_t end_of_float = float_end();
    const size_t end = end_of_float != 0 ? end_of_float : integer_end();
    std::string digits = text_.substr(at_, end - at_);
    std::erase(digits, '_');
    add(end_of_float != 0 ? Kind::number : Kind::integer, std::move(digits));
    advance(end);
  }

  void read_name() {
    size_t end = at_;
    while (end < text_.size() && is_name_char(text_, end)) ++end;
    const std::string name = text_.substr(at_, end - at_);
    if (Text(name).ascii() == false) {
      throw SyntaxError(line_, "names outside ASCII are not supported: " + name);
    }
    add(Kind::name, name);
    advance(end);
  }

  void read_string() {
    const char quote = text_[at_];
    size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != quote) end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) {
      throw SyntaxError(line_, fmt::format("unexpected char {} at {}", quote, at_));
    }
    add(Kind::text, unescape(std::string_view(text_).substr(at_ + 1, end - at_ - 1), line_));
    advance(end + 1);
  }

  void read_sign() {
    const std::string_view rest = std::string_view(text_).substr(at_);
    const auto* sign =
        std::ranges::find_if(kTokenSigns, [&](std::string_view s) { return rest.starts_with(s); });
    if (sign == std::end(kTokenSigns)) {
      throw SyntaxError(line_, fmt::format("unexpected char {} at {}", rest.substr(0, 1), at_));
    }
    if (*sign == "(" || *sign == "[" || *sign == "{") {
      open_ += *sign == "(" ? ')' : *sign == "[" ? ']' : '}';
    } else if (*sign == ")" || *sign == "]" || *sign == "}") {
      if (open_.empty()) throw SyntaxError(line_, fmt::format("unexpected '{}'", *sign));
      if (open_.back() != (*sign)[0]) {
        throw SyntaxError(line_,
                          fmt::format("unexpected '{}', expected '{}'", *sign, open_.back()));
      }
      open_.pop_back();
    }
    add(Kind::sign, std::string(*sign));
    advance(at_ + sign->size());
  }

  std::string text_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::string open_;  // the brackets that are to close
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).tokens(); }

}  // namespace leash::jinja

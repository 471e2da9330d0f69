// Tokens as a parser reads them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "models/jinja/lexer.h"
#include "models/jinja/syntax_error.h"

namespace leash::jinja {

class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& now() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const Token& next() {
    const Token& token = tokens_[at_];
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }
  bool skip_name(std::string_view name) { return skip(now().is_name(name)); }
  bool skip_sign(std::string_view sign) { return skip(now().is_sign(sign)); }
  const Token& expect(Token::Kind kind, const char* what) {
    if (now().kind != kind) fail(std::string("expected ") + what + shown());
    return next();
  }
  void expect_name(std::string_view name) {
    if (!skip_name(name)) fail("expected '" + std::string(name) + "'" + shown());
  }
  void expect_sign(std::string_view sign) {
    if (!skip_sign(sign)) fail("expected '" + std::string(sign) + "'" + shown());
  }
  [[noreturn]] void fail(const std::string& message) const {
    throw SyntaxError(now().line, message);
  }
  std::string shown() const {
    const std::string& value = now().value;
    return now().kind == Token::Kind::end ? ", got the end of the template"
           : value.empty()                ? ", got the end of the tag"
                                          : ", got '" + value.substr(0, 80) + "'";
  }

 private:
  bool skip(bool it) {
    if (it) next();
    return it;
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
};

}  // namespace leash::jinja

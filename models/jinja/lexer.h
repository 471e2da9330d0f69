// Jinja2's tokens, with trim_blocks and lstrip_blocks on as transformers sets them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace leash::jinja {

struct Token {
  enum class Kind {
    data,
    variable_begin,
    variable_end,
    block_begin,
    block_end,
    name,
    text,
    integer,
    number,
    sign,
    end
  };
  Kind kind = Kind::end;
  std::string value = {};  // a sign is spelled here; a text without its escapes
  int line = 1;

  bool is(Kind wanted, std::string_view spelling) const {
    return kind == wanted && value == spelling;
  }
  bool is_name(std::string_view spelling) const { return is(Kind::name, spelling); }
  bool is_sign(std::string_view spelling) const { return is(Kind::sign, spelling); }
};

// Valid UTF-8. SyntaxError. The last token is Kind::end.
std::vector<Token> tokenize(std::string_view source);

}  // namespace leash::jinja

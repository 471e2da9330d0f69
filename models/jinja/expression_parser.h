// Expressions of templates.
#pragma once

#include <initializer_list>
#include <string_view>

#include "models/jinja/ast.h"
#include "models/jinja/token_stream.h"

namespace leash::jinja {

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& tokens) : tokens_(tokens) {}

  ExpressionPtr expression(bool with_condition = true);
  // Expressions between commas are a tuple; it ends at the end of the tag, at `)` or at `end`.
  ExpressionPtr tuple(bool with_condition = true, std::string_view end = {},
                      bool in_parentheses = false);
  // What stands left of `in` or `=`: names, tuples of them, and where it may, attributes of
  // namespaces.
  ExpressionPtr target(bool with_spaces, std::string_view end = {});
  ExpressionPtr name_target();
  // Filters behind `input`; the first without its `|` where `inside` a filter block.
  ExpressionPtr filters(ExpressionPtr input, bool inside);

 private:
  ExpressionPtr make(Expression::Kind kind, int line, std::vector<ExpressionPtr> parts = {});
  ExpressionPtr finished(ExpressionPtr node) const;
  ExpressionPtr logical_or();
  ExpressionPtr logical_and();
  ExpressionPtr logical_not();
  ExpressionPtr compare();
  ExpressionPtr sum();
  ExpressionPtr concat();
  ExpressionPtr product();
  ExpressionPtr power();
  ExpressionPtr unary(bool with_filters);
  ExpressionPtr primary(bool with_spaces = false);
  ExpressionPtr name(bool with_spaces);
  ExpressionPtr number();
  ExpressionPtr list();
  ExpressionPtr dict();
  ExpressionPtr postfix(ExpressionPtr node);
  ExpressionPtr filter_expression(ExpressionPtr node);
  ExpressionPtr subscript(ExpressionPtr node);
  ExpressionPtr bracket(ExpressionPtr node, int line);
  ExpressionPtr slice_part();
  ExpressionPtr call(ExpressionPtr node);
  ExpressionPtr test(ExpressionPtr node);
  void arguments(Expression& node);
  void argument(Expression& node, int line);
  bool ends_tuple(std::string_view end) const;

  // Expressions inside each other.
  class Inside;
  TokenStream& tokens_;
  int depth_ = 0;
};

}  // namespace leash::jinja

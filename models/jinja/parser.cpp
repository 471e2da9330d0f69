// Statements.
#include "models/jinja/parser.h"

#include <initializer_list>

#include "models/jinja/expression_parser.h"
#include "models/jinja/scopes.h"

namespace leash::jinja {
namespace {

using Names = std::initializer_list<std::string_view>;

constexpr int kMostBlocks = 80;  // inside each other

StatementPtr make_statement(Statement::Kind kind, int line) {
  auto statement = std::make_unique<Statement>();
  statement->kind = kind;
  statement->line = line;
  return statement;
}

class StatementParser {
 public:
  explicit StatementParser(std::string_view source)
      : tokens_(tokenize(source)), expressions_(tokens_) {}

  Block whole() { return block({}); }

 private:
  // Up to one of `ends`, which is the current token then; to the end of the template without any.
  Block block(Names ends) {
    Block body;
    while (true) {
      const Token& token = tokens_.now();
      if (token.kind == Token::Kind::end) {
        if (ends.size() == 0) return body;
        tokens_.fail("Unexpected end of template: expected '" + std::string(*ends.begin()) + "'");
      }
      if (token.kind == Token::Kind::data) {
        body.push_back(data());
      } else if (token.kind == Token::Kind::variable_begin) {
        tokens_.next();
        StatementPtr output = make_statement(Statement::Kind::output, token.line);
        output->value = expressions_.tuple();
        body.push_back(std::move(output));
        tokens_.expect(Token::Kind::variable_end, "the end of the print statement");
      } else {
        tokens_.next();
        for (const std::string_view end : ends) {
          if (tokens_.now().is_name(end)) return body;
        }
        statement(body);
        tokens_.expect(Token::Kind::block_end, "the end of the statement");
      }
    }
  }

  StatementPtr data() {
    const Token& token = tokens_.next();
    StatementPtr output = make_statement(Statement::Kind::output, token.line);
    output->value = std::make_unique<Expression>();
    output->value->line = token.line;
    output->value->constant = Value(token.value);
    return output;
  }

  // From the end of the opening tag on.
  Block statements(Names ends, bool drop) {
    tokens_.skip_sign(":");
    tokens_.expect(Token::Kind::block_end, "the end of the statement");
    Block body = block(ends);
    if (drop) tokens_.next();
    return body;
  }

  void statement(Block& body) {
    const Token& token = tokens_.now();
    if (token.kind != Token::Kind::name) tokens_.fail("tag name expected");
    if (++depth_ > kMostBlocks) tokens_.fail("blocks are nested too deeply");
    const std::string& tag = token.value;
    if (tag == "print") {
      print(body);
    } else if (tag == "if") {
      tokens_.next();
      body.push_back(branch(token.line));
    } else {
      StatementPtr (StatementParser::*parse)() = parser_of(tag);
      if (parse == nullptr) refuse(tag);
      tokens_.next();
      StatementPtr statement = (this->*parse)();
      statement->line = token.line;
      body.push_back(std::move(statement));
    }
    --depth_;
  }

  StatementPtr (StatementParser::*parser_of(std::string_view tag))() {
    if (tag == "for") return &StatementParser::loop;
    if (tag == "set") return &StatementParser::set;
    if (tag == "macro") return &StatementParser::macro;
    if (tag == "call") return &StatementParser::call;
    if (tag == "generation") return &StatementParser::generation;
    if (tag == "filter") return &StatementParser::filter;
    if (tag == "with") return &StatementParser::with;
    if (tag == "break") return &StatementParser::leave<Statement::Kind::leave>;
    if (tag == "continue") return &StatementParser::leave<Statement::Kind::next>;
    return nullptr;
  }

  [[noreturn]] void refuse(const std::string& tag) {
    for (const char* known : {"autoescape", "block", "extends", "from", "import", "include"}) {
      if (tag == known) tokens_.fail("the tag '" + tag + "' is not supported");
    }
    tokens_.fail("Encountered unknown tag '" + tag.substr(0, 80) + "'.");
  }

  void print(Block& body) {
    const int line = tokens_.next().line;
    for (bool first = true; tokens_.now().kind != Token::Kind::block_end; first = false) {
      if (!first) tokens_.expect_sign(",");
      StatementPtr output = make_statement(Statement::Kind::output, line);
      output->value = expressions_.expression();
      body.push_back(std::move(output));
    }
  }

  // An elif is a branch of its own in `other`.
  StatementPtr branch(int line) {
    StatementPtr first = make_statement(Statement::Kind::branch, line);
    for (Statement* now = first.get();;) {
      now->value = expressions_.tuple(/*with_condition=*/false);
      now->body = statements({"elif", "else", "endif"}, false);
      const Token& token = tokens_.next();
      if (token.value == "endif") return first;
      if (token.value == "else") {
        now->other = statements({"endif"}, true);
        return first;
      }
      now->other.push_back(make_statement(Statement::Kind::branch, token.line));
      if (++elifs_ > 10 * kMostBlocks) tokens_.fail("too many elif");
      now = now->other[0].get();
    }
  }

  StatementPtr loop() {
    StatementPtr node = make_statement(Statement::Kind::loop, 0);
    node->target = expressions_.target(/*with_spaces=*/false, "in");
    tokens_.expect_name("in");
    node->value = expressions_.tuple(/*with_condition=*/false, "recursive");
    if (tokens_.skip_name("if")) node->test = expressions_.expression();
    node->recursive = tokens_.skip_name("recursive");
    ++loops_;
    node->body = statements({"endfor", "else"}, false);
    --loops_;
    node->has_else = tokens_.next().value == "else";
    if (node->has_else) node->other = statements({"endfor"}, true);
    return node;
  }

  StatementPtr set() {
    StatementPtr node = make_statement(Statement::Kind::set, 0);
    node->target = expressions_.target(/*with_spaces=*/true);
    if (tokens_.skip_sign("=")) {
      node->value = expressions_.tuple();
      return node;
    }
    node->kind = Statement::Kind::set_block;
    node->value = expressions_.filters(nullptr, false);
    node->body = statements({"endset"}, true);
    return node;
  }

  void signature(Callable& callable) {
    tokens_.expect_sign("(");
    while (!tokens_.now().is_sign(")")) {
      if (!callable.parameters.empty()) tokens_.expect_sign(",");
      callable.parameters.push_back(expressions_.name_target());
      if (tokens_.skip_sign("=")) {
        callable.defaults.push_back(expressions_.expression());
      } else if (!callable.defaults.empty()) {
        tokens_.fail("non-default argument follows default argument");
      }
    }
    tokens_.expect_sign(")");
  }

  // Loops around a function are not its own.
  Block function_body(std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    Block body = statements({end}, true);
    loops_ = loops;
    return body;
  }

  StatementPtr macro() {
    StatementPtr node = make_statement(Statement::Kind::macro, 0);
    node->target = expressions_.name_target();
    node->callable.name = node->target->name;
    signature(node->callable);
    node->callable.body = function_body("endmacro");
    return node;
  }

  StatementPtr call() {
    StatementPtr node = make_statement(Statement::Kind::call_block, 0);
    if (tokens_.now().is_sign("(")) signature(node->callable);
    node->value = expressions_.expression();
    if (node->value->kind != Expression::Kind::call) tokens_.fail("expected call");
    node->callable.body = function_body("endcall");
    return node;
  }

  StatementPtr generation() {
    StatementPtr node = make_statement(Statement::Kind::generation, 0);
    node->callable.body = function_body("endgeneration");
    return node;
  }

  StatementPtr filter() {
    StatementPtr node = make_statement(Statement::Kind::filter_block, 0);
    node->value = expressions_.filters(nullptr, /*inside=*/true);
    node->body = statements({"endfilter"}, true);
    return node;
  }

  StatementPtr with() {
    StatementPtr node = make_statement(Statement::Kind::with, 0);
    while (tokens_.now().kind != Token::Kind::block_end) {
      if (!node->targets.empty()) tokens_.expect_sign(",");
      node->targets.push_back(expressions_.target(/*with_spaces=*/false));
      tokens_.expect_sign("=");
      node->values.push_back(expressions_.expression());
    }
    node->body = statements({"endwith"}, true);
    return node;
  }

  template <Statement::Kind kind>
  StatementPtr leave() {
    if (loops_ == 0) tokens_.fail("break or continue outside of a loop");
    return make_statement(kind, 0);
  }

  TokenStream tokens_;
  ExpressionParser expressions_;
  int depth_ = 0;
  int loops_ = 0;
  int elifs_ = 0;
};

}  // namespace

Program parse_template(std::string_view source) {
  Program result;
  result.body = StatementParser(source).whole();
  resolve_scopes(result);
  return result;
}

}  // namespace leash::jinja

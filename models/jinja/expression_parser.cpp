#include "models/jinja/expression_parser.h"

#include <algorithm>
#include <charconv>

namespace leash::jinja {
namespace {

// Python's own parser gives up at 200 brackets inside each other.
constexpr int kMostInside = 150;
constexpr int kDeepestTree = 400;

std::vector<ExpressionPtr> parts_of(ExpressionPtr a, ExpressionPtr b = nullptr) {
  std::vector<ExpressionPtr> parts;
  parts.push_back(std::move(a));
  if (b != nullptr) parts.push_back(std::move(b));
  return parts;
}

}  // namespace

class ExpressionParser::Inside {
 public:
  explicit Inside(ExpressionParser& parser) : parser_(parser) {
    if (++parser_.depth_ > kMostInside) parser_.tokens_.fail("expressions are nested too deeply");
  }
  ~Inside() { --parser_.depth_; }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  ExpressionParser& parser_;
};

ExpressionPtr ExpressionParser::make(Expression::Kind kind, int line,
                                     std::vector<ExpressionPtr> parts) {
  auto node = std::make_unique<Expression>();
  node->kind = kind;
  node->line = line;
  node->parts = std::move(parts);
  return finished(std::move(node));
}

ExpressionPtr ExpressionParser::finished(ExpressionPtr node) const {
  int deepest = 0;
  const auto see = [&](const ExpressionPtr& part) {
    if (part != nullptr) deepest = std::max(deepest, part->depth);
  };
  for (const ExpressionPtr& part : node->parts) see(part);
  for (const auto& [name, part] : node->named) see(part);
  see(node->star);
  see(node->double_star);
  node->depth = deepest + 1;
  if (node->depth > kDeepestTree) throw SyntaxError(node->line, "an expression is too long");
  return node;
}

ExpressionPtr ExpressionParser::expression(bool with_condition) {
  const Inside inside(*this);
  if (!with_condition) return logical_or();
  int line = tokens_.now().line;
  ExpressionPtr node = logical_or();
  while (tokens_.skip_name("if")) {
    ExpressionPtr test = logical_or();
    ExpressionPtr otherwise = tokens_.skip_name("else") ? expression() : nullptr;
    std::vector<ExpressionPtr> parts;
    parts.push_back(std::move(test));
    parts.push_back(std::move(node));
    parts.push_back(std::move(otherwise));
    node = make(Expression::Kind::condition, line, std::move(parts));
    line = tokens_.now().line;
  }
  return node;
}

ExpressionPtr ExpressionParser::logical_or() {
  const int line = tokens_.now().line;
  ExpressionPtr left = logical_and();
  while (tokens_.skip_name("or")) {
    left = make(Expression::Kind::logical_or, line, parts_of(std::move(left), logical_and()));
  }
  return left;
}

ExpressionPtr ExpressionParser::logical_and() {
  const int line = tokens_.now().line;
  ExpressionPtr left = logical_not();
  while (tokens_.skip_name("and")) {
    left = make(Expression::Kind::logical_and, line, parts_of(std::move(left), logical_not()));
  }
  return left;
}

ExpressionPtr ExpressionParser::logical_not() {
  if (!tokens_.now().is_name("not")) return compare();
  const Inside inside(*this);
  const int line = tokens_.next().line;
  return make(Expression::Kind::logical_not, line, parts_of(logical_not()));
}

ExpressionPtr ExpressionParser::compare() {
  constexpr std::pair<std::string_view, Comparison> kSpelled[] = {
      {"==", Comparison::equal},  {"!=", Comparison::unequal},
      {"<", Comparison::less},    {"<=", Comparison::less_equal},
      {">", Comparison::greater}, {">=", Comparison::greater_equal}};
  const int line = tokens_.now().line;
  std::vector<ExpressionPtr> parts = parts_of(sum());
  std::vector<Comparison> comparisons;
  while (true) {
    const auto* known = std::ranges::find_if(
        kSpelled, [&](const auto& row) { return tokens_.now().is_sign(row.first); });
    if (known != std::end(kSpelled)) {
      tokens_.next();
      comparisons.push_back(known->second);
    } else if (tokens_.skip_name("in")) {
      comparisons.push_back(Comparison::in);
    } else if (tokens_.now().is_name("not") && tokens_.ahead().is_name("in")) {
      tokens_.next();
      tokens_.next();
      comparisons.push_back(Comparison::not_in);
    } else {
      break;
    }
    parts.push_back(sum());
  }
  if (comparisons.empty()) return std::move(parts[0]);
  ExpressionPtr node = make(Expression::Kind::compare, line, std::move(parts));
  node->comparisons = std::move(comparisons);
  return node;
}

ExpressionPtr ExpressionParser::sum() {
  const int line = tokens_.now().line;
  ExpressionPtr left = concat();
  while (tokens_.now().is_sign("+") || tokens_.now().is_sign("-")) {
    const Operator op = tokens_.next().value == "+" ? Operator::add : Operator::subtract;
    left = make(Expression::Kind::arithmetic, line, parts_of(std::move(left), concat()));
    left->op = op;
  }
  return left;
}

ExpressionPtr ExpressionParser::concat() {
  const int line = tokens_.now().line;
  std::vector<ExpressionPtr> parts = parts_of(product());
  while (tokens_.skip_sign("~")) parts.push_back(product());
  if (parts.size() == 1) return std::move(parts[0]);
  return make(Expression::Kind::concat, line, std::move(parts));
}

ExpressionPtr ExpressionParser::product() {
  constexpr std::pair<std::string_view, Operator> kSpelled[] = {{"*", Operator::multiply},
                                                                {"/", Operator::divide},
                                                                {"//", Operator::floor_divide},
                                                                {"%", Operator::modulo}};
  const int line = tokens_.now().line;
  ExpressionPtr left = power();
  while (true) {
    const auto* known = std::ranges::find_if(
        kSpelled, [&](const auto& row) { return tokens_.now().is_sign(row.first); });
    if (known == std::end(kSpelled)) return left;
    tokens_.next();
    left = make(Expression::Kind::arithmetic, line, parts_of(std::move(left), power()));
    left->op = known->second;
  }
}

// As Jinja2 has it: from left to right, and a sign binds closer.
ExpressionPtr ExpressionParser::power() {
  const int line = tokens_.now().line;
  ExpressionPtr left = unary(true);
  while (tokens_.skip_sign("**")) {
    left = make(Expression::Kind::arithmetic, line, parts_of(std::move(left), unary(true)));
    left->op = Operator::power;
  }
  return left;
}

ExpressionPtr ExpressionParser::unary(bool with_filters) {
  const Inside inside(*this);
  const int line = tokens_.now().line;
  ExpressionPtr node;
  if (tokens_.skip_sign("-")) {
    node = make(Expression::Kind::negative, line, parts_of(unary(false)));
  } else if (tokens_.skip_sign("+")) {
    node = make(Expression::Kind::positive, line, parts_of(unary(false)));
  } else {
    node = primary();
  }
  node = postfix(std::move(node));
  return with_filters ? filter_expression(std::move(node)) : std::move(node);
}

ExpressionPtr ExpressionParser::primary(bool with_spaces) {
  const Token& token = tokens_.now();
  if (token.kind == Token::Kind::name) return name(with_spaces);
  if (token.kind == Token::Kind::text) {
    ExpressionPtr node = make(Expression::Kind::constant, token.line);
    std::string text;
    while (tokens_.now().kind == Token::Kind::text) text += tokens_.next().value;
    node->constant = Value(std::move(text));
    return node;
  }
  if (token.kind == Token::Kind::integer || token.kind == Token::Kind::number) return number();
  if (tokens_.skip_sign("(")) {
    ExpressionPtr node = tuple(true, {}, /*in_parentheses=*/true);
    tokens_.expect_sign(")");
    return node;
  }
  if (token.is_sign("[")) return list();
  if (token.is_sign("{")) return dict();
  tokens_.fail("expected an expression" + tokens_.shown());
}

ExpressionPtr ExpressionParser::name(bool with_spaces) {
  const Token& token = tokens_.next();
  ExpressionPtr node = make(Expression::Kind::constant, token.line);
  const std::string& name = token.value;
  if (name == "true" || name == "True" || name == "false" || name == "False") {
    node->constant = name == "true" || name == "True";
  } else if (name == "none" || name == "None") {
    node->constant = None{};
  } else if (with_spaces && tokens_.skip_sign(".")) {
    node->kind = Expression::Kind::space_attribute;
    node->name = name;
    node->attribute = tokens_.expect(Token::Kind::name, "a name").value;
  } else {
    node->kind = Expression::Kind::name;
    node->name = name;
  }
  return node;
}

ExpressionPtr ExpressionParser::number() {
  const Token& token = tokens_.next();
  ExpressionPtr node = make(Expression::Kind::constant, token.line);
  if (token.kind == Token::Kind::number) {
    node->constant = std::strtod(token.value.c_str(), nullptr);
    return node;
  }
  std::string_view digits = token.value;
  int base = 10;
  if (digits.size() > 2 && digits[0] == '0' &&
      std::isalpha(static_cast<unsigned char>(digits[1]))) {
    const char kind = static_cast<char>(digits[1] | 0x20);
    base = kind == 'x' ? 16 : kind == 'o' ? 8 : 2;
    digits.remove_prefix(2);
  }
  int64_t value = 0;
  if (std::from_chars(digits.data(), digits.data() + digits.size(), value, base).ec !=
      std::errc()) {
    throw SyntaxError(token.line,
                      "the integer " + token.value.substr(0, 80) + " does not fit 64 bits");
  }
  node->constant = value;
  return node;
}

bool ExpressionParser::ends_tuple(std::string_view end) const {
  const Token& token = tokens_.now();
  return token.kind == Token::Kind::variable_end || token.kind == Token::Kind::block_end ||
         token.is_sign(")") || (!end.empty() && token.is_name(end));
}

ExpressionPtr ExpressionParser::tuple(bool with_condition, std::string_view end,
                                      bool in_parentheses) {
  const int line = tokens_.now().line;
  std::vector<ExpressionPtr> parts;
  bool commas = false;
  while (!ends_tuple(end)) {
    parts.push_back(expression(with_condition));
    if (!tokens_.skip_sign(",")) break;
    commas = true;
  }
  if (!commas && !parts.empty()) return std::move(parts[0]);
  if (!commas && !in_parentheses) tokens_.fail("expected an expression" + tokens_.shown());
  return make(Expression::Kind::tuple, line, std::move(parts));
}

ExpressionPtr ExpressionParser::list() {
  const int line = tokens_.next().line;
  std::vector<ExpressionPtr> parts;
  while (!tokens_.now().is_sign("]")) {
    if (!parts.empty()) tokens_.expect_sign(",");
    if (tokens_.now().is_sign("]")) break;
    parts.push_back(expression());
  }
  tokens_.expect_sign("]");
  return make(Expression::Kind::list, line, std::move(parts));
}

ExpressionPtr ExpressionParser::dict() {
  const int line = tokens_.next().line;
  std::vector<ExpressionPtr> parts;
  while (!tokens_.now().is_sign("}")) {
    if (!parts.empty()) tokens_.expect_sign(",");
    if (tokens_.now().is_sign("}")) break;
    parts.push_back(expression());
    tokens_.expect_sign(":");
    parts.push_back(expression());
  }
  tokens_.expect_sign("}");
  return make(Expression::Kind::dict, line, std::move(parts));
}

ExpressionPtr ExpressionParser::postfix(ExpressionPtr node) {
  while (true) {
    if (tokens_.now().is_sign(".") || tokens_.now().is_sign("[")) {
      node = subscript(std::move(node));
    } else if (tokens_.now().is_sign("(")) {
      node = call(std::move(node));
    } else {
      return node;
    }
  }
}

ExpressionPtr ExpressionParser::filter_expression(ExpressionPtr node) {
  while (true) {
    if (tokens_.now().is_sign("|")) {
      node = filters(std::move(node), false);
    } else if (tokens_.now().is_name("is")) {
      node = test(std::move(node));
    } else if (tokens_.now().is_sign("(")) {
      node = call(std::move(node));
    } else {
      return node;
    }
  }
}

ExpressionPtr ExpressionParser::subscript(ExpressionPtr node) {
  const Token& token = tokens_.next();
  if (token.value == "[") return bracket(std::move(node), token.line);
  const Token& name = tokens_.now();
  if (name.kind == Token::Kind::name) {
    tokens_.next();
    node = make(Expression::Kind::attribute, token.line, parts_of(std::move(node)));
    node->name = name.value;
    return node;
  }
  if (name.kind != Token::Kind::integer) tokens_.fail("expected name or number");
  return make(Expression::Kind::item, token.line, parts_of(std::move(node), number()));
}

ExpressionPtr ExpressionParser::bracket(ExpressionPtr node, int line) {
  std::vector<ExpressionPtr> keys;
  while (!tokens_.now().is_sign("]")) {
    if (!keys.empty()) tokens_.expect_sign(",");
    keys.push_back(slice_part());
  }
  tokens_.expect_sign("]");
  if (keys.size() == 1 && keys[0]->kind == Expression::Kind::slice) {
    keys[0]->parts[0] = std::move(node);
    return finished(std::move(keys[0]));
  }
  const auto is_slice = [](const ExpressionPtr& key) {
    return key->kind == Expression::Kind::slice;
  };
  if (std::ranges::any_of(keys, is_slice)) {
    throw SyntaxError(line, "slices between commas are not supported");
  }
  if (keys.size() != 1) {
    ExpressionPtr all = make(Expression::Kind::tuple, line, std::move(keys));
    return make(Expression::Kind::item, line, parts_of(std::move(node), std::move(all)));
  }
  return make(Expression::Kind::item, line, parts_of(std::move(node), std::move(keys[0])));
}

// A key, or start:stop:step with an empty place for what is sliced.
ExpressionPtr ExpressionParser::slice_part() {
  const int line = tokens_.now().line;
  ExpressionPtr start = tokens_.now().is_sign(":") ? nullptr : expression();
  if (!tokens_.skip_sign(":")) return start;
  const auto ends = [&] { return tokens_.now().is_sign("]") || tokens_.now().is_sign(","); };
  ExpressionPtr stop = tokens_.now().is_sign(":") || ends() ? nullptr : expression();
  ExpressionPtr step;
  if (tokens_.skip_sign(":") && !ends()) step = expression();
  std::vector<ExpressionPtr> parts(1);
  parts.push_back(std::move(start));
  parts.push_back(std::move(stop));
  parts.push_back(std::move(step));
  return make(Expression::Kind::slice, line, std::move(parts));
}

ExpressionPtr ExpressionParser::call(ExpressionPtr node) {
  node = make(Expression::Kind::call, tokens_.now().line, parts_of(std::move(node)));
  arguments(*node);
  return finished(std::move(node));
}

void ExpressionParser::arguments(Expression& node) {
  const int line = tokens_.now().line;
  tokens_.expect_sign("(");
  for (bool first = true; !tokens_.now().is_sign(")"); first = false) {
    if (!first) {
      tokens_.expect_sign(",");
      if (tokens_.now().is_sign(")")) break;
    }
    argument(node, line);
  }
  tokens_.expect_sign(")");
}

void ExpressionParser::argument(Expression& node, int line) {
  const auto ensure = [&](bool right) {
    if (!right) throw SyntaxError(line, "invalid syntax for function call expression");
  };
  if (tokens_.skip_sign("*")) {
    ensure(node.star == nullptr && node.double_star == nullptr);
    node.star = expression();
  } else if (tokens_.skip_sign("**")) {
    ensure(node.double_star == nullptr);
    node.double_star = expression();
  } else if (tokens_.now().kind == Token::Kind::name && tokens_.ahead().is_sign("=")) {
    ensure(node.double_star == nullptr);
    std::string key = tokens_.next().value;
    tokens_.next();
    for (const auto& [other, value] : node.named) {
      if (other == key) throw SyntaxError(line, "keyword argument repeated: " + key);
    }
    node.named.emplace_back(std::move(key), expression());
  } else {
    ensure(node.star == nullptr && node.double_star == nullptr && node.named.empty());
    node.parts.push_back(expression());
  }
}

ExpressionPtr ExpressionParser::filters(ExpressionPtr input, bool inside) {
  while (inside || tokens_.now().is_sign("|")) {
    if (!inside) tokens_.next();
    inside = false;
    const Token& token = tokens_.expect(Token::Kind::name, "the name of a filter");
    if (input == nullptr) input = make(Expression::Kind::buffer, token.line);
    ExpressionPtr node = make(Expression::Kind::filter, token.line, parts_of(std::move(input)));
    node->name = token.value;
    while (tokens_.skip_sign(".")) {
      node->name += "." + tokens_.expect(Token::Kind::name, "a name").value;
    }
    if (tokens_.now().is_sign("(")) arguments(*node);
    input = finished(std::move(node));
  }
  return input;
}

ExpressionPtr ExpressionParser::test(ExpressionPtr node) {
  const int line = tokens_.next().line;
  const bool negated = tokens_.skip_name("not");
  node = make(Expression::Kind::test, line, parts_of(std::move(node)));
  node->name = tokens_.expect(Token::Kind::name, "the name of a test").value;
  while (tokens_.skip_sign(".")) {
    node->name += "." + tokens_.expect(Token::Kind::name, "a name").value;
  }
  const Token& token = tokens_.now();
  const bool begins = token.kind == Token::Kind::name || token.kind == Token::Kind::text ||
                      token.kind == Token::Kind::integer || token.kind == Token::Kind::number ||
                      token.is_sign("[") || token.is_sign("{");
  if (token.is_sign("(")) {
    arguments(*node);
  } else if (begins && !token.is_name("else") && !token.is_name("or") && !token.is_name("and")) {
    if (token.is_name("is")) tokens_.fail("You cannot chain multiple tests with is");
    const Inside inside(*this);
    node->parts.push_back(postfix(primary()));
  }
  node = finished(std::move(node));
  return negated ? make(Expression::Kind::logical_not, line, parts_of(std::move(node)))
                 : std::move(node);
}

ExpressionPtr ExpressionParser::target(bool with_spaces, std::string_view end) {
  const int line = tokens_.now().line;
  std::vector<ExpressionPtr> parts;
  bool commas = false;
  while (!ends_tuple(end)) {
    const Inside inside(*this);
    parts.push_back(primary(with_spaces));
    if (!tokens_.skip_sign(",")) break;
    commas = true;
  }
  if (parts.empty()) tokens_.fail("expected a name" + tokens_.shown());
  ExpressionPtr node =
      commas ? make(Expression::Kind::tuple, line, std::move(parts)) : std::move(parts[0]);
  const auto check = [&](const auto& self, const Expression& part) -> void {
    if (part.kind == Expression::Kind::name || part.kind == Expression::Kind::space_attribute)
      return;
    if (part.kind != Expression::Kind::tuple)
      throw SyntaxError(part.line, "can't assign to what is no name");
    for (const ExpressionPtr& inner : part.parts) self(self, *inner);
  };
  check(check, *node);
  return node;
}

ExpressionPtr ExpressionParser::name_target() {
  const Token& token = tokens_.now();
  if (token.kind != Token::Kind::name) tokens_.fail("expected a name" + tokens_.shown());
  ExpressionPtr node = name(false);
  if (node->kind != Expression::Kind::name)
    throw SyntaxError(token.line, "can't assign to '" + token.value + "'");
  return node;
}

}  // namespace leash::jinja

#include "models/jinja/name_uses.h"

namespace leash::jinja {
namespace {

// Goes through statements in Jinja2's order of their fields: `take` gets each name and whether it
// is written there, and says whether to go on.
class NameWalk {
 public:
  using Take = std::function<bool(const Expression&, bool written)>;
  explicit NameWalk(Take take) : take_(std::move(take)) {}

  void walk(const Block& body) {
    for (const StatementPtr& statement : body) walk(*statement);
  }
  void walk(const Statement& s) {
    using Kind = Statement::Kind;
    if (s.kind == Kind::set_block || s.kind == Kind::loop || s.kind == Kind::set) {
      see(s.target, true);
    }
    if (s.kind == Kind::macro || s.kind == Kind::call_block || s.kind == Kind::generation) {
      if (s.kind == Kind::call_block) see(s.value, false);
      for (const ExpressionPtr& parameter : s.callable.parameters) see(parameter, true);
      for (const ExpressionPtr& value : s.callable.defaults) see(value, false);
      return walk(s.callable.body);
    }
    for (const ExpressionPtr& target : s.targets) see(target, true);
    for (const ExpressionPtr& value : s.values) see(value, false);
    if (s.kind == Kind::filter_block) walk(s.body);
    see(s.value, false);
    if (s.kind != Kind::filter_block) walk(s.body);
    walk(s.other);
    see(s.test, false);
  }

 private:
  void see(const ExpressionPtr& expression, bool written) {
    if (expression == nullptr || done_) return;
    for_each_name(*expression, [&](const Expression& name) {
      if (!done_) done_ = !take_(name, written && name.kind == Expression::Kind::name);
    });
  }

  Take take_;
  bool done_ = false;
};

}  // namespace

void for_each_name(const Expression& expression,
                   const std::function<void(const Expression&)>& take) {
  if (expression.kind == Expression::Kind::name ||
      expression.kind == Expression::Kind::space_attribute) {
    take(expression);
  }
  const auto see = [&](const ExpressionPtr& part) {
    if (part != nullptr) for_each_name(*part, take);
  };
  for (const ExpressionPtr& part : expression.parts) see(part);
  for (const auto& [name, value] : expression.named) see(value);
  see(expression.star);
  see(expression.double_star);
}

bool reads_name(const Block& body, std::string_view name) {
  bool read = false;
  NameWalk([&](const Expression& found, bool written) {
    if (found.kind != Expression::Kind::name || found.name != name) return true;
    read = !written;
    return false;
  }).walk(body);
  return read;
}

bool writes_name(const Statement& statement, std::string_view name) {
  bool wrote = false;
  NameWalk([&](const Expression& found, bool written) {
    wrote = wrote || (written && found.name == name);
    return !wrote;
  }).walk(statement);
  return wrote;
}

}  // namespace leash::jinja

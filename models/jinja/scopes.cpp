#include "models/jinja/scopes.h"

#include <algorithm>

#include "models/jinja/name_uses.h"
#include "models/jinja/runtime.h"
#include "models/jinja/symbols.h"
#include "models/jinja/syntax_error.h"

namespace leash::jinja {
namespace {

void load_names(Symbols& symbols, const ExpressionPtr& expression) {
  if (expression == nullptr) return;
  for_each_name(*expression, [&](const Expression& name) { symbols.load(name.name); });
}

enum class Target { stored, parameter };
void take_target(Symbols& symbols, const Expression& target, Target as) {
  for_each_name(target, [&](const Expression& name) {
    if (name.kind == Expression::Kind::space_attribute) {
      symbols.load(name.name);
    } else if (as == Target::parameter) {
      symbols.declare(name.name);
    } else {
      symbols.store(name.name);
    }
  });
}

// What a statement means for the variables of the scope that it stands in; bodies that are scopes
// of their own are not looked into.
void look_at(Symbols& symbols, const Block& body);
void look_at(Symbols& symbols, const Statement& s) {
  switch (s.kind) {
    case Statement::Kind::output:
    case Statement::Kind::loop:
    case Statement::Kind::call_block:
    case Statement::Kind::filter_block:
      return load_names(symbols, s.value);
    case Statement::Kind::branch: {
      load_names(symbols, s.value);
      std::vector<Symbols> branches(2, symbols);
      look_at(branches[0], s.body);
      look_at(branches[1], s.other);
      return symbols.merge(branches);
    }
    case Statement::Kind::macro:
      return symbols.store(s.target->name);
    case Statement::Kind::set:
      load_names(symbols, s.value);
      return take_target(symbols, *s.target, Target::stored);
    case Statement::Kind::set_block:
      return take_target(symbols, *s.target, Target::stored);
    case Statement::Kind::with:
      for (const ExpressionPtr& value : s.values) load_names(symbols, value);
      return;
    case Statement::Kind::generation:
    case Statement::Kind::leave:
    case Statement::Kind::next:
      return;
  }
}

void look_at(Symbols& symbols, const Block& body) {
  for (const StatementPtr& statement : body) look_at(symbols, *statement);
}

// Where the compiler stands: the variables in sight, the function that holds them, and whether a
// condition is around, under which unknown filters wait.
struct Place {
  Symbols& symbols;
  FunctionSlots& function;
  bool soft = false;
};

class Resolver {
 public:
  void resolve(Program& parsed) {
    Symbols symbols(nullptr, 0);
    look_at(symbols, parsed.body);
    FunctionSlots function;
    parsed.scope = symbols.scope(function);
    resolve({symbols, function}, parsed.body);
    parsed.slots = static_cast<int>(function.slots.size());
  }

 private:
  static Symbols inner(const Place& place) {
    return Symbols(&place.symbols, place.symbols.level() + 1);
  }

  void resolve(const Place& place, Block& body) {
    for (const StatementPtr& statement : body) resolve(place, *statement);
  }

  void resolve(const Place& place, Statement& s) {
    switch (s.kind) {
      case Statement::Kind::output:
      case Statement::Kind::set:
        resolve(place, s.target);
        return resolve(place, s.value);
      case Statement::Kind::branch: {
        const Place soft{place.symbols, place.function, true};
        resolve(soft, s.value);
        resolve(soft, s.body);
        return resolve(soft, s.other);
      }
      case Statement::Kind::loop:
        return loop(place, s);
      case Statement::Kind::macro:
        resolve(place, s.target);
        return callable(place, s.callable, s.line);
      case Statement::Kind::call_block:
      case Statement::Kind::generation:
        resolve(place, s.value);
        return callable(place, s.callable, s.line);
      case Statement::Kind::set_block:
      case Statement::Kind::filter_block:
        return captured(place, s);
      case Statement::Kind::with:
        return with(place, s);
      case Statement::Kind::leave:
      case Statement::Kind::next:
        return;
    }
  }

  void captured(const Place& place, Statement& s) {
    Symbols symbols = inner(place);
    look_at(symbols, s.body);
    if (s.kind == Statement::Kind::filter_block) load_names(symbols, s.value);
    s.scope = symbols.scope(place.function);
    const Place inside{symbols, place.function};
    resolve(inside, s.body);
    resolve(inside, s.value);
    resolve(place, s.target);
  }

  void with(const Place& place, Statement& s) {
    Symbols symbols = inner(place);
    for (const ExpressionPtr& target : s.targets) take_target(symbols, *target, Target::parameter);
    look_at(symbols, s.body);
    s.scope = symbols.scope(place.function);
    const Place inside{symbols, place.function};
    for (ExpressionPtr& target : s.targets) resolve(inside, target);
    for (ExpressionPtr& value : s.values) resolve(place, value);
    resolve(inside, s.body);
  }

  void loop(const Place& place, Statement& s) {
    if (writes_name(s, "loop")) {
      throw SyntaxError(s.line, "Can't assign to special loop variable in for-loop target");
    }
    resolve(place, s.value);
    s.extended = s.recursive || reads_name(s.body, "loop");
    FunctionSlots own{.parent = &place.function, .slots = {}};
    FunctionSlots& function = s.recursive ? own : place.function;

    Symbols body = inner(place);
    std::optional<Identity> loop_variable;
    if (s.extended) loop_variable = body.declare("loop");
    take_target(body, *s.target, Target::parameter);
    look_at(body, s.body);
    s.scope = body.scope(function);
    if (loop_variable) s.loop_slot = function.slot(*loop_variable);
    if (s.test != nullptr) loop_test(place, s, function);

    const Place inside{body, function};
    resolve(inside, s.target);
    resolve(inside, s.body);
    if (s.has_else) {
      Symbols otherwise = inner(place);
      look_at(otherwise, s.other);
      s.else_scope = otherwise.scope(function);
      resolve({otherwise, function}, s.other);
    }
    s.slots = static_cast<int>(own.slots.size());
  }

  // A function of its own, which has the loop's target as well.
  void loop_test(const Place& place, Statement& s, FunctionSlots& around) {
    Symbols symbols = inner(place);
    take_target(symbols, *s.target, Target::parameter);
    load_names(symbols, s.test);
    FunctionSlots function{.parent = &around, .slots = {}};
    s.test_scope = symbols.scope(function);
    resolve({symbols, function}, s.test);
    s.targets.push_back(copy_target(*s.target));
    resolve({symbols, function}, s.targets[0]);
    s.test_slots = static_cast<int>(function.slots.size());
  }

  static ExpressionPtr copy_target(const Expression& target) {
    auto copy = std::make_unique<Expression>();
    copy->kind = target.kind;
    copy->line = target.line;
    copy->name = target.name;
    for (const ExpressionPtr& part : target.parts) copy->parts.push_back(copy_target(*part));
    return copy;
  }

  void callable(const Place& place, Callable& c, int line) {
    Symbols symbols = inner(place);
    for (const ExpressionPtr& parameter : c.parameters) symbols.declare(parameter->name);
    for (const ExpressionPtr& value : c.defaults) load_names(symbols, value);
    look_at(symbols, c.body);
    const auto has = [&](const char* name) {
      return std::ranges::any_of(c.parameters, [&](const auto& p) { return p->name == name; });
    };
    FunctionSlots function{.parent = &place.function, .slots = {}};
    c.explicit_caller = has("caller");
    c.uses_caller = reads_name(c.body, "caller");
    c.uses_kwargs = reads_name(c.body, "kwargs") && !has("kwargs");
    c.uses_varargs = reads_name(c.body, "varargs") && !has("varargs");
    if (c.uses_caller && c.explicit_caller) check_caller_default(c, line);
    if (c.uses_caller && !c.explicit_caller)
      c.caller_slot = function.slot(symbols.declare("caller"));
    if (c.uses_kwargs) c.kwargs_slot = function.slot(symbols.declare("kwargs"));
    if (c.uses_varargs) c.varargs_slot = function.slot(symbols.declare("varargs"));
    c.scope = symbols.scope(function);
    const Place inside{symbols, function};
    for (ExpressionPtr& parameter : c.parameters) resolve(inside, parameter);
    for (ExpressionPtr& value : c.defaults) resolve(inside, value);
    resolve(inside, c.body);
    c.slots = static_cast<int>(function.slots.size());
  }

  static void check_caller_default(const Callable& c, int line) {
    const size_t without = c.parameters.size() - c.defaults.size();
    for (size_t i = 0; i < without; ++i) {
      if (c.parameters[i]->name != "caller") continue;
      throw SyntaxError(line, "the argument \"caller\" must be omitted or be given a default");
    }
  }

  void resolve(const Place& place, ExpressionPtr& expression) {
    if (expression != nullptr) resolve(place, *expression);
  }

  void resolve(const Place& place, Expression& e) {
    if (e.kind == Expression::Kind::name || e.kind == Expression::Kind::space_attribute) {
      if (const auto identity = place.symbols.find(e.name)) {
        e.reference = place.function.reference(*identity);
      }
    }
    const Place inside{place.symbols, place.function,
                       place.soft || e.kind == Expression::Kind::condition};
    for (ExpressionPtr& part : e.parts) resolve(inside, part);
    for (auto& [name, value] : e.named) resolve(inside, value);
    resolve(inside, e.star);
    resolve(inside, e.double_star);
    if (place.soft) return;
    if (e.kind == Expression::Kind::filter && !is_filter(e.name)) {
      throw SyntaxError(e.line, "No filter named '" + e.name + "'.");
    }
    if (e.kind == Expression::Kind::test && !is_test(e.name)) {
      throw SyntaxError(e.line, "No test named '" + e.name + "'.");
    }
  }
};

}  // namespace

void resolve_scopes(Program& parsed) { Resolver().resolve(parsed); }

}  // namespace leash::jinja

// A parsed template.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/jinja/operators.h"
#include "models/jinja/value.h"

namespace leash::jinja {

// Where a variable lies: in the frame `hops` functions further out.
struct Reference {
  int hops = 0;
  int slot = -1;
};

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

enum class Comparison { equal, unequal, less, less_equal, greater, greater_equal, in, not_in };

struct Expression {
  enum class Kind {
    constant,
    name,
    space_attribute,  // `name`.`attribute`, as a target
    tuple,
    list,
    dict,       // keys and values in turn
    attribute,  // parts[0].name
    item,       // parts[0][parts[1]]
    slice,      // parts[0][parts[1]:parts[2]:parts[3]], the latter may be null
    call,       // parts[0](the rest, named, star, double_star)
    filter,     // parts[0]|name(the rest, …)
    test,       // parts[0] is name(the rest, …)
    buffer,     // what a block rendered, filtered
    condition,  // parts[1] if parts[0] else parts[2], which may be null
    logical_and,
    logical_or,
    logical_not,
    compare,  // parts[0] comparisons[0] parts[1] comparisons[1] …
    arithmetic,
    negative,
    positive,
    concat
  };
  Kind kind = Kind::constant;
  int line = 1;
  int depth = 1;  // of the tree below
  std::vector<ExpressionPtr> parts = {};
  std::string name = {};
  std::string attribute = {};
  Value constant = {};
  Operator op = Operator::add;
  std::vector<Comparison> comparisons = {};
  std::vector<std::pair<std::string, ExpressionPtr>> named = {};
  ExpressionPtr star = nullptr, double_star = nullptr;
  Reference reference = {};
};

// What happens to variables when a scope is entered (Jinja2's idtracking).
struct ScopeLoad {
  enum class Kind { resolve, alias, undefined, parameter };
  Kind kind = Kind::undefined;
  int slot = 0;
  Reference from = {};    // of an alias
  std::string name = {};  // to resolve
};
using Scope = std::vector<ScopeLoad>;

struct Statement;
using StatementPtr = std::unique_ptr<Statement>;
using Block = std::vector<StatementPtr>;

// A macro, a call block or a generation block: a function with variables of its own.
struct Callable {
  std::string name = {};
  std::vector<ExpressionPtr> parameters = {};  // names
  std::vector<ExpressionPtr> defaults = {};    // of the last ones
  Block body = {};
  bool uses_caller = false, uses_kwargs = false, uses_varargs = false;
  int caller_slot = -1, kwargs_slot = -1, varargs_slot = -1;
  bool explicit_caller = false;
  Scope scope = {};
  int slots = 0;
};

struct Statement {
  enum class Kind {
    output,      // value
    loop,        // for target in value if test
    branch,      // if value: body, else: other (an elif is a branch in other)
    set,         // target = value
    set_block,   // target = body, filtered by value where there is one
    macro,       // target
    call_block,  // value, a call
    generation,
    filter_block,  // value
    with,          // targets, values
    leave,         // break
    next           // continue
  };
  Kind kind = Kind::output;
  int line = 1;
  ExpressionPtr target = nullptr, value = nullptr, test = nullptr;
  Block body = {}, other = {};
  std::vector<ExpressionPtr> targets = {}, values = {};
  bool recursive = false, extended = false, has_else = false;
  int loop_slot = -1;
  Callable callable = {};
  Scope scope = {}, else_scope = {}, test_scope = {};
  int slots = 0;       // of the function of a recursive loop
  int test_slots = 0;  // of the function of a loop's test
};

struct Program {
  Block body;
  Scope scope;
  int slots = 0;
};

}  // namespace leash::jinja

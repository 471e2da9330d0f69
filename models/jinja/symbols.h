// The variables of scopes while names are resolved (Jinja2's idtracking.Symbols).
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "models/jinja/ast.h"

namespace leash::jinja {

// A variable is known by the depth of its scope and its name.
using Identity = std::pair<int, std::string>;

// What shares one set of slots: the template, a macro, a recursive loop.
struct FunctionSlots {
  FunctionSlots* parent = nullptr;
  std::map<Identity, int> slots;

  int slot(const Identity& identity);
  // Failing that, of the functions around.
  Reference reference(const Identity& identity) const;
};

class Symbols {
 public:
  Symbols(const Symbols* parent, int level) : parent_(parent), level_(level) {}

  int level() const { return level_; }
  std::optional<Identity> find(const std::string& name) const;
  void store(const std::string& name);
  Identity declare(const std::string& name);  // as a parameter
  void load(const std::string& name);
  // What happens in branches of which one is taken.
  void merge(const std::vector<Symbols>& branches);
  // What entering the scope does, in `function`.
  Scope scope(FunctionSlots& function) const;

 private:
  struct Load {
    ScopeLoad::Kind kind;
    Identity from;     // of an alias
    std::string name;  // to resolve
  };
  void define(const std::string& name, Load load);
  void set_load(const Identity& identity, Load load);

  const Symbols* parent_;
  int level_;
  std::map<std::string, Identity> references_;
  std::vector<std::pair<Identity, Load>> loads_;  // in the order of their definition
  std::set<std::string> stores_;
};

}  // namespace leash::jinja

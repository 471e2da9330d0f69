#include "models/jinja/symbols.h"

#include <algorithm>

namespace leash::jinja {

int FunctionSlots::slot(const Identity& identity) {
  return slots.try_emplace(identity, static_cast<int>(slots.size())).first->second;
}

Reference FunctionSlots::reference(const Identity& identity) const {
  int hops = 0;
  for (const FunctionSlots* function = this; function != nullptr; function = function->parent) {
    const auto found = function->slots.find(identity);
    if (found != function->slots.end()) return {.hops = hops, .slot = found->second};
    ++hops;
  }
  return {};
}

std::optional<Identity> Symbols::find(const std::string& name) const {
  for (const Symbols* symbols = this; symbols != nullptr; symbols = symbols->parent_) {
    const auto found = symbols->references_.find(name);
    if (found != symbols->references_.end()) return found->second;
  }
  return std::nullopt;
}

void Symbols::set_load(const Identity& identity, Load load) {
  const auto found =
      std::ranges::find_if(loads_, [&](const auto& entry) { return entry.first == identity; });
  if (found == loads_.end()) {
    loads_.emplace_back(identity, std::move(load));
  } else {
    found->second = std::move(load);
  }
}

void Symbols::define(const std::string& name, Load load) {
  const Identity identity{level_, name};
  references_[name] = identity;
  set_load(identity, std::move(load));
}

void Symbols::store(const std::string& name) {
  stores_.insert(name);
  if (references_.contains(name)) return;
  if (parent_ != nullptr) {
    if (const auto outer = parent_->find(name)) {
      return define(name, {ScopeLoad::Kind::alias, *outer, {}});
    }
  }
  define(name, {ScopeLoad::Kind::undefined, {}, {}});
}

Identity Symbols::declare(const std::string& name) {
  stores_.insert(name);
  define(name, {ScopeLoad::Kind::parameter, {}, {}});
  return {level_, name};
}

void Symbols::load(const std::string& name) {
  if (!find(name)) define(name, {ScopeLoad::Kind::resolve, {}, name});
}

void Symbols::merge(const std::vector<Symbols>& branches) {
  std::set<std::string> stored;
  for (const Symbols& branch : branches) {
    for (const std::string& name : branch.stores_) {
      if (!stores_.contains(name)) stored.insert(name);
    }
  }
  for (const Symbols& branch : branches) {
    for (const auto& [name, identity] : branch.references_) references_[name] = identity;
    for (const auto& [identity, load] : branch.loads_) set_load(identity, load);
    stores_.insert(branch.stores_.begin(), branch.stores_.end());
  }
  // Not every branch may store it, so that it begins as what it is outside.
  for (const std::string& name : stored) {
    const Identity identity = *find(name);
    const auto outer = parent_ != nullptr ? parent_->find(name) : std::nullopt;
    set_load(identity, outer ? Load{ScopeLoad::Kind::alias, *outer, {}}
                             : Load{ScopeLoad::Kind::resolve, {}, name});
  }
}

Scope Symbols::scope(FunctionSlots& function) const {
  Scope scope;
  for (const auto& [identity, load] : loads_) {
    ScopeLoad entry{.kind = load.kind, .slot = function.slot(identity), .name = load.name};
    if (load.kind == ScopeLoad::Kind::alias) entry.from = function.reference(load.from);
    scope.push_back(std::move(entry));
  }
  return scope;
}

}  // namespace leash::jinja

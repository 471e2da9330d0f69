// Where names stand in a parsed template.
#pragma once

#include <functional>
#include <string_view>

#include "models/jinja/ast.h"

namespace leash::jinja {

// Whether the statements read `name` before something in them writes it.
bool reads_name(const Block& body, std::string_view name);
// Whether the statement, or one inside it, writes `name`.
bool writes_name(const Statement& statement, std::string_view name);
// All names of an expression in their order. A target's are written, but for the namespaces whose
// attributes are.
void for_each_name(const Expression& expression,
                   const std::function<void(const Expression&)>& take);

}  // namespace leash::jinja

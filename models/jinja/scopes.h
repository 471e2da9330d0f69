// Which variable a name means. Jinja2 decides that before it renders: a `set` inside a loop's body
// makes a variable of that body, which begins as what lies outside.
#pragma once

#include "models/jinja/ast.h"

namespace leash::jinja {

// Fills in all references, scopes and slots. SyntaxError for filters and tests that do not exist,
// unless a condition stands around them: these fail when they are used.
void resolve_scopes(Program& parsed);

}  // namespace leash::jinja

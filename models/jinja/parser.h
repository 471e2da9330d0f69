// Jinja2's grammar.
#pragma once

#include <string_view>

#include "models/jinja/ast.h"

namespace leash::jinja {

// Valid UTF-8. Names are resolved (scopes.h). SyntaxError.
Program parse_template(std::string_view source);

}  // namespace leash::jinja

// JSON as values of templates.
#pragma once

#include <nlohmann/json.hpp>

#include "models/jinja/value.h"

namespace leash::jinja {

enum class Origin {
  own,     // the template's author, the recipe, the checkpoint
  foreign  // a user, whose words are no markup
};

// Texts with an `origin`, keys without one. FormatError for integers beyond 64 bits.
Value from_json(const nlohmann::ordered_json& json, Origin origin);

}  // namespace leash::jinja

// YAML as JSON, for settings that are passed on as they are.
#pragma once

#include <string>

#include "configs/config_value.h"
#include "configs/problems.h"
#include "models/json_setting.h"

namespace leash {

// A map, or the text of a JSON object. Plain scalars mean what YAML 1.2's JSON schema says (true,
// null, numbers), quoted ones are texts. Adds a problem for anything else.
void read_json_object(const ConfigValue& value, JsonObject& into, const std::string& path,
                      Problems& problems);

}  // namespace leash

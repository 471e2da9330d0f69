// YAML text to a ConfigValue. Anchors, aliases and tags are refused: a recipe says what it means.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "configs/config_value.h"
#include "configs/problems.h"

namespace leash {

// A whole document. Syntax errors, keys that stand twice and what is not supported go to
// `problems`; what could be read comes back.
ConfigValue parse_yaml(const std::string& text, const Place& origin, Problems& problems);
// The text of a recipe's file, which is a regular one of at most 1 MiB. ConfigError.
std::string read_recipe_text(const std::filesystem::path& file);
// ConfigError when the file cannot be read.
ConfigValue read_yaml_file(const std::filesystem::path& file, Problems& problems);

// `ppo.kl_coef=0.1`, `reward[0].weight=2`, `lora.target_modules=[q_proj, v_proj]`: puts a value
// over what the file says. Maps on the way are created; a list's entry has to exist.
void apply_override(ConfigValue& root, const std::string& assignment, Problems& problems);
// The same of a value that was read: `path` is `ppo.kl_coef`.
void apply_value(ConfigValue& root, const std::string& path, ConfigValue value, Problems& problems);

}  // namespace leash

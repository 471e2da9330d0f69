// Which tasks have a section.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace leash {

// "task: ppo (a list) and task: reward" for a section that only some tasks have.
std::optional<std::string> tasks_with(std::string_view section);

}  // namespace leash

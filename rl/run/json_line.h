// JSON on one line, as logs and reports hold it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace leash {

// Text of a model may hold bytes that are no UTF-8: they are replaced.
inline std::string json_line(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace leash

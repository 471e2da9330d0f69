// A setting that is a JSON object of whatever keys, such as what a chat template is given.
#pragma once

#include <string>

namespace leash {

struct JsonObject {
  std::string text{};  // JSON of one object; empty: none

  bool operator==(const JsonObject&) const = default;
};

}  // namespace leash

// What to write instead of "a,b" where a list is meant.
#pragma once

#include <string>
#include <string_view>

namespace leash {

// "; as a list it is [a,b]", to stand behind a message; nothing without a comma.
inline std::string list_hint(std::string_view text) {
  if (text.find(',') == std::string_view::npos) return "";
  return "; as a list it is [" + std::string(text) + "]";
}

}  // namespace leash

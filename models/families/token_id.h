// What a file says where it means that there is no such token.
#pragma once

#include <cstdint>
#include <optional>

namespace leash {

// -1, or the same in 32 bits without a sign: none.
inline std::optional<int64_t> unless_none(std::optional<int64_t> id) {
  return id == -1 || id == 0xffffffff ? std::nullopt : id;
}

}  // namespace leash

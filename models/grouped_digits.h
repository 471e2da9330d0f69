// Numbers for people.
#pragma once

#include <cstdint>
#include <string>

namespace leash {

// 1,234,567
std::string grouped_digits(int64_t number);

}  // namespace leash

// Bounds of what the user can ask for in whole numbers, on the command line and in recipes.
#pragma once

#include <cstdint>

namespace leash {

// The product of two still fits into 64 bits.
inline constexpr int64_t kMostOfAnything = 1'000'000'000;
// Threads of one operation.
inline constexpr int64_t kMostThreads = 1024;
// Seeds are keys and not quantities: all that fit.
inline constexpr double kMostSeed = 0x1p63;

}  // namespace leash

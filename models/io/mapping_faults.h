// What happens when a mapped file loses its end while somebody reads it: the kernel then sends
// SIGBUS, which by itself ends a process without a word.
#pragma once

#include <cstddef>
#include <span>

namespace leash {

// From now until `forget_mapping`, a SIGBUS in `bytes` names `path` on standard error and ends the
// process with 3, as a damaged file does. `path` has to live as long. Any other SIGBUS does what it
// did before.
void watch_mapping(std::span<const std::byte> bytes, const char* path);
void forget_mapping(std::span<const std::byte> bytes);

}  // namespace leash

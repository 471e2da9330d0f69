// What the user is told when a device has no memory left.
#pragma once

#include <c10/util/Exception.h>

#include <cstdint>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace leash {

// A device's memory did not suffice. The message names what was asked for, what is in use by whom
// and which settings to lower.
class OutOfMemory : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Who holds memory on a device.
struct MemoryUse {
  std::string who;     // "base of policy and reference"
  std::string device;  // "cuda:0"
  int64_t bytes = 0;
};

// `doing` ("sampling"), what LibTorch said, who holds what, and settings to lower, the likeliest
// first ("rollout.max_batch (64)").
std::string out_of_memory_text(const std::string& doing, const std::string& from_torch,
                               const std::vector<MemoryUse>& uses,
                               const std::vector<std::string>& lower);

// What was said where an error means that memory, or what a thread needs, has run out: LibTorch's
// on a GPU and on the host, std::bad_alloc, a thread that the system does not give. None for any
// other.
std::optional<std::string> shortage(const std::exception& error);
// The same for the user, without the settings of a run to lower.
std::string shortage_text(const std::string& shortage);

// Bytes as the user reads them: "1.50 GiB".
std::string memory_text(int64_t bytes);

// Runs `work`; an allocation that fails in it, on a device or the host, becomes an OutOfMemory.
// `uses` and `lower` are asked only then.
template <class Work, class Uses, class Lower>
auto explaining_memory(const char* doing, const Uses& uses, const Lower& lower, Work&& work) {
  try {
    return std::forward<Work>(work)();
  } catch (const std::exception& error) {
    const auto said = shortage(error);
    if (!said) throw;
    throw OutOfMemory(out_of_memory_text(doing, *said, uses(), lower()));
  }
}

}  // namespace leash

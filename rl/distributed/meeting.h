// Where the ranks of a run find each other: the key-value store that rank 0 (or the launcher)
// serves.
#pragma once

#include <chrono>
#include <optional>

#include "rl/distributed/c10d_backend.h"
#include "rl/distributed/launch.h"

namespace leash {

// A socket that is bound to the loopback address of `launch` alone. nullopt: the store listens on
// all addresses, because
//   - it is another address: others may know this machine by a second card, a name of a service
//   - ranks come from elsewhere, and it is a loopback address as a host's own name often is to
//     itself (Debian: 127.0.1.1); localhost, 127.0.0.1 and ::1 mean this machine
// CommunicationError where the port is taken.
std::optional<int> bound_socket(const Launch& launch);

// Opens the store (rank 0 serves it unless the launcher does) and waits until all ranks are there.
// After 10 s rank 0 says on standard error for whom it waits, as do the others where it is rank 0.
// Waits of the store end after `timeout`. CommunicationError that names who did not come in time.
C10dStore meet_at_store(const Launch& launch, std::chrono::milliseconds timeout);

}  // namespace leash

// Who of the other processes still lives. A thread of each rank writes a heartbeat into the
// key-value store that all share; a rank that fails leaves its reason there.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "rl/distributed/c10d_backend.h"

namespace leash {

// Time is counted in the watch's own heartbeats (0.5 s) where it can be: a machine that stops all
// its processes for a while kills none of them. When a rank has failed and this process is not at
// its end `timeout` later (it computes, and does not look), the watch ends the process with exit
// code 1: there is nothing left that it could do.
class PeerWatch {
 public:
  // `store` is used by the watch's thread alone.
  PeerWatch(C10dStore store, const Launch& launch, std::chrono::milliseconds timeout);
  // Where the store lives in this process, waits (at most 10 s) until the other ranks have left it,
  // or know of the failure.
  ~PeerWatch();
  PeerWatch(const PeerWatch&) = delete;
  PeerWatch& operator=(const PeerWatch&) = delete;

  // What another rank gave as the reason of its end, or why it must be taken for dead.
  std::optional<std::string> failure() const;
  // Looks for signs of life of all ranks (5 s). Returns failure(), or that all of them live.
  std::string find_out();
  // Leaves the reason of this rank's end in the store. Never throws.
  void report(const std::string& why) noexcept;

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
  std::thread thread_;
};

}  // namespace leash

// How a rank waits for collectives of c10d: until they are done, or a rank is known to be gone.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <torch/csrc/distributed/c10d/Work.hpp>

#include "rl/distributed/launch.h"
#include "rl/distributed/peer_watch.h"

namespace leash {

using C10dWork = c10::intrusive_ptr<c10d::Work>;

// LibTorch's messages without their stack traces.
std::string message_of(const std::exception& error);

// For one thread at a time; any number of these may share a watch.
class C10dWaits {
 public:
  // `longest_pause`: between two looks at a collective.
  C10dWaits(std::shared_ptr<PeerWatch> watch, const Launch& launch,
            std::chrono::microseconds longest_pause)
      : watch_(std::move(watch)), launch_(launch), longest_pause_(longest_pause) {}

  PeerWatch& watch() { return *watch_; }
  const Launch& launch() const { return launch_; }

  // Sleeps until the collective is done, a rank is known to be gone, or `given_up` says so.
  void wait(const C10dWork& work, const std::function<bool()>& given_up = {});
  // Runs a collective; whatever goes wrong in it gets its reason, as CommunicationError.
  void run(const char* name, const std::function<void()>& collective);
  // Something went wrong: what is under way never ends.
  bool failed() const { return failed_; }

 private:
  std::shared_ptr<PeerWatch> watch_;
  Launch launch_;
  std::chrono::microseconds longest_pause_;
  bool failed_ = false;
};

}  // namespace leash

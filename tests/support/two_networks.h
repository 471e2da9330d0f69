// Two machines as far as a network can tell: two network namespaces that a pair of virtual network
// cards joins.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/process.h"

namespace leash::testing {

// Each namespace lives as long as a process that does nothing in it, so both, and the cards with
// them, are gone when this is, however the test ends.
class TwoNetworks {
 public:
  TwoNetworks();

  // Why there are none (no right to make them, no `ip` program); empty where they work.
  const std::string& missing() const { return missing_; }
  // Of network 0 or 1, on the card.
  static std::string address(int64_t network);
  // `command` as it has to be started to run in that network.
  std::vector<std::string> inside(int64_t network, const std::vector<std::string>& command) const;
  // What the card of that network has received so far.
  int64_t received_bytes(int64_t network) const;

 private:
  void hold(int64_t network);
  void configure(int64_t network, const std::string& script);

  std::unique_ptr<Process> holders_[2];
  std::string missing_;
};

}  // namespace leash::testing

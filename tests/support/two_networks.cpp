#include "tests/support/two_networks.h"

#include <unistd.h>

#include <filesystem>
#include <sstream>

namespace leash::testing {
namespace {

std::string namespace_of(pid_t process) {
  std::error_code error;  // the process may be gone
  const auto link =
      std::filesystem::read_symlink("/proc/" + std::to_string(process) + "/ns/net", error);
  return link.string();
}

}  // namespace

TwoNetworks::TwoNetworks() {
  for (const int64_t network : {0, 1}) hold(network);
  if (!missing_.empty()) return;
  configure(0, "ip link add card type veth peer name card netns " +
                   std::to_string(holders_[1]->pid()) + " && ");
  configure(1, "");
}

std::string TwoNetworks::address(int64_t network) {
  return "10.77.0." + std::to_string(network + 1);
}

std::vector<std::string> TwoNetworks::inside(int64_t network,
                                             const std::vector<std::string>& command) const {
  std::vector<std::string> all = {
      "/usr/bin/nsenter", "--net=/proc/" + std::to_string(holders_[network]->pid()) + "/ns/net"};
  all.insert(all.end(), command.begin(), command.end());
  return all;
}

int64_t TwoNetworks::received_bytes(int64_t network) const {
  std::istringstream lines(
      read_text("/proc/" + std::to_string(holders_[network]->pid()) + "/net/dev"));
  for (std::string line; std::getline(lines, line);) {
    const size_t name = line.find("card:");
    if (name != std::string::npos) return std::stoll(line.substr(name + 5));
  }
  return 0;
}

// It dies with this process, or after ten minutes.
void TwoNetworks::hold(int64_t network) {
  auto& holder = holders_[network];
  holder = std::make_unique<Process>(
      std::vector<std::string>{"/usr/bin/unshare", "--net", "/usr/bin/setpriv", "--pdeathsig",
                               "KILL", "/bin/sleep", "600"},
      ProcessOptions{.timeout_seconds = 20});
  const std::string outside = namespace_of(::getpid());
  const bool held = holder->wait_until([&] {
    const std::string inside = namespace_of(holder->pid());
    return !inside.empty() && inside != outside;
  });
  if (!held) missing_ = "no network namespace could be made: " + holder->wait().err;
}

void TwoNetworks::configure(int64_t network, const std::string& script) {
  if (!missing_.empty()) return;
  const std::string address = TwoNetworks::address(network);
  Process process(inside(network, {"/bin/sh", "-c",
                                   script + "ip address add " + address +
                                       "/24 dev card && ip link set card up && ip link set lo up"}),
                  {.environment = {{"PATH", "/usr/sbin:/usr/bin:/sbin:/bin"}}});
  const Ended ended = process.wait();
  if (ended.code != 0) missing_ = "no virtual network card could be made: " + ended.err;
}

}  // namespace leash::testing

// Gloo's process group. Its own library is part of LibTorch; only declarations come from outside.
#ifndef USE_C10D_GLOO  // the wheel's CMake package defines it
#define USE_C10D_GLOO
#endif
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "rl/distributed/c10d_backend.h"

namespace leash {
namespace {

// The address of this machine that packets to `host` would carry; nothing is sent.
std::string address_towards(const std::string& host) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), "9", &hints, &found); error != 0) {
    throw CommunicationError(fmt::format("{}: {}", host, ::gai_strerror(error)));
  }
  char text[NI_MAXHOST] = {};
  for (const addrinfo* each = found; each != nullptr && text[0] == '\0'; each = each->ai_next) {
    const int probe = ::socket(each->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (probe < 0) continue;
    sockaddr_storage own = {};
    socklen_t size = sizeof(own);
    if (::connect(probe, each->ai_addr, each->ai_addrlen) == 0 &&
        ::getsockname(probe, reinterpret_cast<sockaddr*>(&own), &size) == 0) {
      ::getnameinfo(reinterpret_cast<sockaddr*>(&own), size, text, sizeof(text), nullptr, 0,
                    NI_NUMERICHOST);
    }
    ::close(probe);
  }
  ::freeaddrinfo(found);
  if (text[0] == '\0') throw CommunicationError(fmt::format("{}: there is no way to it", host));
  return text;
}

bool is_loopback(const std::string& address) {
  return address.starts_with("127.") || address == "::1" || address.starts_with("::ffff:127.");
}

// The address towards rank 0. To rank 0's own machine that may be a loopback address (MASTER_ADDR
// is 127.0.0.1 there, or a name that /etc/hosts gives to 127.0.1.1) although ranks come from
// elsewhere; then the address towards the first of those. All ranks say theirs in the store.
std::string listening_address(c10d::Store& store, const Launch& launch) {
  const auto key = [](int64_t rank) { return fmt::format("address/{}", rank); };
  const std::string own = address_towards(launch.address);
  store.set(key(launch.rank), own);
  if (!is_loopback(own)) return own;
  for (int64_t rank = 0; rank < launch.size; ++rank) {
    const std::string other = store.get_to_str(key(rank));
    if (!is_loopback(other)) return address_towards(other);
  }
  return own;
}

std::shared_ptr<gloo::transport::Device> listening_device(c10d::Store& store,
                                                          const Launch& launch) {
  const std::string address = listening_address(store, launch);
  if (const char* interface = std::getenv("GLOO_SOCKET_IFNAME")) {
    return c10d::ProcessGroupGloo::createDeviceForInterface(interface);
  }
  return c10d::ProcessGroupGloo::createDeviceForHostname(address);
}

}  // namespace

C10dBackend make_gloo(const C10dStore& store, const Launch& launch,
                      std::chrono::milliseconds meeting_timeout,
                      std::chrono::milliseconds timeout) {
  const auto options = c10d::ProcessGroupGloo::Options::create(meeting_timeout);
  options->devices.push_back(listening_device(*store, launch));
  auto group = c10::make_intrusive<c10d::ProcessGroupGloo>(store, static_cast<int>(launch.rank),
                                                           static_cast<int>(launch.size), options);
  group->setTimeout(timeout);
  return group;
}

}  // namespace leash

#include "rl/distributed/meeting.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <vector>

#include "rl/distributed/communicator.h"

namespace leash {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kQuietWait(10000);  // before the user hears for whom a rank waits
constexpr milliseconds kPause(100);

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

Addresses addresses_of(const Launch& launch) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error =
      ::getaddrinfo(launch.address.c_str(), std::to_string(launch.port).c_str(), &hints, &found);
  return {error == 0 ? found : nullptr, &::freeaddrinfo};
}

bool is_loopback(const addrinfo& address) {
  if (address.ai_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address.ai_addr);
    return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
  }
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address.ai_addr);
  return address.ai_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

// Whether nobody will come from elsewhere. A host's own name may be a loopback address to itself
// (Debian: 127.0.1.1), the usual one is none to others either.
bool stays_here(const Launch& launch) {
  const std::string& address = launch.address;
  return launch.local_size == launch.size || address == "localhost" || address == "127.0.0.1" ||
         address == "::1";
}

// Says once, after a while, who is missing.
class Waiting {
 public:
  Waiting(const Launch& launch, milliseconds timeout)
      : launch_(launch), begin_(Clock::now()), end_(begin_ + timeout) {}

  Clock::time_point end() const { return end_; }
  bool over() const { return Clock::now() >= end_; }

  void for_ranks(const std::vector<int64_t>& missing) {
    if (said_ || Clock::now() < begin_ + kQuietWait) return;
    if (launch_.rank != 0 && missing.front() != 0) return;  // rank 0 says it
    said_ = true;
    std::fputs(fmt::format("leash: rank {} of {}: waiting for rank{} {} at {}:{}\n", launch_.rank,
                           launch_.size, missing.size() > 1 ? "s" : "", fmt::join(missing, ", "),
                           launch_.address, launch_.port)
                   .c_str(),
               stderr);
  }

 private:
  const Launch& launch_;
  Clock::time_point begin_, end_;
  bool said_ = false;
};

C10dStore serve_store(const Launch& launch, c10d::TCPStoreOptions options) {
  options.isServer = true;
  options.masterListenFd = bound_socket(launch);
  return c10::make_intrusive<c10d::TCPStore>(launch.address, options);
}

// Tries until somebody serves it.
C10dStore join_store(const Launch& launch, c10d::TCPStoreOptions options, Waiting& waiting) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::seconds>(waiting.end() - Clock::now());
    options.timeout = std::max<milliseconds>(std::min<milliseconds>(left, kQuietWait / 2),
                                             std::chrono::seconds(1));
    try {
      return c10::make_intrusive<c10d::TCPStore>(launch.address, options);
    } catch (const std::exception&) {
      waiting.for_ranks({0});
      if (waiting.over()) throw;
    }
    std::this_thread::sleep_for(kPause);
  }
}

void wait_for_all(c10d::Store& store, const Launch& launch, Waiting& waiting) {
  const auto key = [](int64_t rank) { return fmt::format("here/{}", rank); };
  store.set(key(launch.rank), "1");
  for (;;) {
    std::vector<int64_t> missing;
    for (int64_t rank = 0; rank < launch.size; ++rank) {
      if (!store.check({key(rank)})) missing.push_back(rank);
    }
    if (missing.empty()) return;
    waiting.for_ranks(missing);
    if (waiting.over()) {
      throw CommunicationError(fmt::format("rank{} {} did not come within run.ddp_meeting_timeout",
                                           missing.size() > 1 ? "s" : "",
                                           fmt::join(missing, ", ")));
    }
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace

std::optional<int> bound_socket(const Launch& launch) {
  const Addresses addresses = addresses_of(launch);
  for (const addrinfo* each = addresses.get(); each != nullptr; each = each->ai_next) {
    // Others may know this machine by another of its addresses.
    if (!is_loopback(*each) || !stays_here(launch)) return std::nullopt;
    const int listener = ::socket(each->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0) continue;
    const int on = 1;
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (::bind(listener, each->ai_addr, each->ai_addrlen) == 0) return listener;
    const int error = errno;
    ::close(listener);
    if (error == EADDRINUSE || error == EACCES) {
      throw CommunicationError("cannot listen there: " + std::generic_category().message(error));
    }
  }
  return std::nullopt;
}

C10dStore meet_at_store(const Launch& launch, milliseconds timeout) {
  Waiting waiting(launch, timeout);
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(launch.port);
  options.waitWorkers = false;
  options.timeout = timeout;
  const bool serves = launch.rank == 0 && !launch.store_is_there;
  C10dStore store = serves ? serve_store(launch, options) : join_store(launch, options, waiting);
  store->setTimeout(timeout);
  store = c10::make_intrusive<c10d::PrefixStore>("leash/" + launch.attempt, store);
  wait_for_all(*store, launch, waiting);
  return store;
}

}  // namespace leash

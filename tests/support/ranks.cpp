#include "tests/support/ranks.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>

namespace leash::testing {

int64_t free_port() {
  const int probe = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  const bool bound = probe >= 0 &&
                     ::bind(probe, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     ::getsockname(probe, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  if (probe >= 0) ::close(probe);
  if (!bound) throw std::runtime_error("no free port");
  return ntohs(address.sin_port);
}

std::map<std::string, std::string> rank_environment(int64_t rank, int64_t size, int64_t port) {
  return {{"RANK", std::to_string(rank)},
          {"WORLD_SIZE", std::to_string(size)},
          {"LOCAL_RANK", std::to_string(rank)},
          {"LOCAL_WORLD_SIZE", std::to_string(size)},
          {"MASTER_ADDR", "127.0.0.1"},
          {"MASTER_PORT", std::to_string(port)},
          {"OMP_NUM_THREADS", "1"}};
}

Ranks::Ranks(const std::vector<std::string>& command, int64_t size, ProcessOptions options) {
  const int64_t port = free_port();
  for (int64_t rank = 0; rank < size; ++rank) {
    ProcessOptions own = options;
    for (const auto& [name, value] : rank_environment(rank, size, port)) {
      own.environment.emplace(name, value);
    }
    processes_.push_back(std::make_unique<Process>(command, std::move(own)));
  }
}

std::vector<Ended> Ranks::wait() {
  std::vector<Ended> ended;
  for (const auto& process : processes_) ended.push_back(process->wait());
  return ended;
}

}  // namespace leash::testing

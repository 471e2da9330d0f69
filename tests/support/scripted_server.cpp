#include "tests/support/scripted_server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <stdexcept>

namespace leash::testing {
namespace {

// A socket on a free port of this machine, and the port.
int bound_socket(int& port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("no port for a test's server");
  }
  port = ntohs(address.sin_port);
  return fd;
}

// Whether the header has ended and the whole body is there.
bool is_whole(const std::string& request) {
  const size_t end = request.find("\r\n\r\n");
  if (end == std::string::npos) return false;
  const size_t length = request.find("Content-Length: ");
  if (length == std::string::npos || length > end) return true;
  return request.size() >= end + 4 + std::strtoull(request.c_str() + length + 16, nullptr, 10);
}

}  // namespace

std::string http_reply(int status, const std::string& body, const std::string& headers) {
  return "HTTP/1.1 " + std::to_string(status) +
         " Said\r\nContent-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n" +
         headers + "\r\n" + body;
}

ScriptedServer::ScriptedServer(Handler handler) : handler_(std::move(handler)) {
  listener_ = bound_socket(port_);
  if (::listen(listener_, 64) != 0) throw std::runtime_error("cannot listen");
  acceptor_ = std::thread([this] { serve(); });
}

ScriptedServer::~ScriptedServer() {
  ends_ = true;
  acceptor_.join();
  for (std::thread& connection : connections_) connection.join();
  ::close(listener_);
}

std::vector<std::string> ScriptedServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void ScriptedServer::serve() {
  while (!ends_) {
    pollfd waits{listener_, POLLIN, 0};
    if (::poll(&waits, 1, 20) <= 0) continue;
    const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) continue;
    connections_.emplace_back([this, connection] { answer(connection); });
  }
}

void ScriptedServer::answer(int connection) {
  const int64_t now = ++at_once_;
  for (int64_t most = most_at_once_;
       now > most && !most_at_once_.compare_exchange_weak(most, now);) {
  }
  std::string request;
  std::array<char, 65536> buffer;
  while (!is_whole(request) && !ends_) {
    pollfd waits{connection, POLLIN, 0};
    if (::poll(&waits, 1, 20) <= 0) continue;
    const ssize_t count = ::recv(connection, buffer.data(), buffer.size(), 0);
    if (count <= 0) break;
    request.append(buffer.data(), static_cast<size_t>(count));
  }
  int64_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    number = static_cast<int64_t>(requests_.size());
    requests_.push_back(request);
  }
  const ScriptedReply reply = handler_(request, number);
  const auto begin = std::chrono::steady_clock::now();
  while (!ends_ && std::chrono::steady_clock::now() - begin <
                       std::chrono::duration<double>(reply.delay_seconds)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  for (size_t sent = 0; sent < reply.bytes.size();) {
    const ssize_t count =
        ::send(connection, reply.bytes.data() + sent, reply.bytes.size() - sent, MSG_NOSIGNAL);
    if (count <= 0) break;
    sent += static_cast<size_t>(count);
  }
  --at_once_;
  ::shutdown(connection, SHUT_WR);
  ::close(connection);
}

}  // namespace leash::testing

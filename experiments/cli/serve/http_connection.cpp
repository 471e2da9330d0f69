#include "experiments/cli/serve/http_connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace leash::cli {
namespace {

constexpr size_t kHeaderBytes = 64 << 10;  // request line and headers
constexpr auto kLingerTime = std::chrono::seconds(2);

}  // namespace

HttpConnection::HttpConnection(int socket, const HttpConfig& config)
    : socket_(socket), config_(config), deadline_(Clock::now()), since_(Clock::now()) {
  const int on = 1;  // an answer's pieces leave at once
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

bool HttpConnection::wait_until(short events, Clock::time_point deadline) const {
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    pollfd watched{.fd = socket_, .events = events, .revents = 0};
    const int ready = ::poll(&watched, 1, static_cast<int>(std::min<int64_t>(left, 1'000'000)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

bool HttpConnection::fill(Clock::time_point deadline) {
  while (true) {
    if (!wait_until(POLLIN, deadline)) return false;
    const ssize_t got = ::recv(socket_, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (got > 0) {
      begin_ = 0;
      end_ = static_cast<size_t>(got);
      return true;
    }
    if (got == 0 || (errno != EAGAIN && errno != EINTR)) return false;
  }
}

bool HttpConnection::wait_for_request() {
  answering_ = false;
  since_ = Clock::now();
  if (begin_ == end_ && !fill(Clock::now() + config_.idle_time)) return false;
  allowed_ = kHeaderBytes;
  deadline_ = Clock::now() + config_.reading_time;
  return true;
}

void HttpConnection::allow_body() { allowed_ += config_.max_body + kHeaderBytes; }

void HttpConnection::begin_answer() {
  answering_ = true;
  deadline_ = Clock::now() + config_.answering_time + config_.reading_time;
}

void HttpConnection::linger() {
  ::shutdown(socket_, SHUT_WR);
  const auto deadline = Clock::now() + kLingerTime;
  while (fill(deadline)) {
  }
}

bool HttpConnection::gone() const {
  pollfd watched{.fd = socket_, .events = POLLRDHUP, .revents = 0};
  return ::poll(&watched, 1, 0) > 0;
}

void HttpConnection::cut_off() const { ::shutdown(socket_, SHUT_RDWR); }

bool HttpConnection::is_readable() const { return begin_ < end_ || wait_until(POLLIN, deadline_); }

bool HttpConnection::is_writable() const { return !gone() && wait_until(POLLOUT, deadline_); }

ssize_t HttpConnection::read(char* into, size_t size) {
  if (size == 0) return 0;
  if (begin_ == end_ && !fill(deadline_)) return -1;
  const size_t count = std::min(size, end_ - begin_);
  if (count > allowed_) return -1;
  allowed_ -= count;
  std::memcpy(into, buffer_.data() + begin_, count);
  begin_ += count;
  return static_cast<ssize_t>(count);
}

ssize_t HttpConnection::write(const char* from, size_t size) {
  // An error's reply, to a request that was not read whole, has as long as reading has.
  const auto deadline = answering_ ? deadline_ : Clock::now() + config_.reading_time;
  while (true) {
    if (!wait_until(POLLOUT, deadline)) return -1;
    const ssize_t sent = ::send(socket_, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) return sent;
    if (errno != EAGAIN && errno != EINTR) return -1;
  }
}

// Nobody here looks at addresses.
void HttpConnection::get_remote_ip_and_port(std::string&, int&) const {}
void HttpConnection::get_local_ip_and_port(std::string&, int&) const {}

bool HttpConnections::enter(HttpConnection* connection) {
  const std::lock_guard lock(mutex_);
  const auto waiting = [](const HttpConnection* one) { return !one->answering(); };
  if (open_.size() >= most_) {
    const HttpConnection* oldest = nullptr;
    for (const HttpConnection* one : open_) {
      if (waiting(one) && (oldest == nullptr || one->since() < oldest->since())) oldest = one;
    }
    // Those that were cut off leave soon; as many again is where that ends.
    if (oldest == nullptr || open_.size() >= 2 * most_) return false;
    oldest->cut_off();
  }
  open_.insert(connection);
  return true;
}

void HttpConnections::leave(HttpConnection* connection) {
  const std::lock_guard lock(mutex_);
  open_.erase(connection);
}

void HttpConnections::cut_off_all() {
  const std::lock_guard lock(mutex_);
  for (const HttpConnection* one : open_) one->cut_off();
}

size_t HttpConnections::size() const {
  const std::lock_guard lock(mutex_);
  return open_.size();
}

}  // namespace leash::cli

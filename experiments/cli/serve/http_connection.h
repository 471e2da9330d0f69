// One connection as cpp-httplib reads and writes it, with bounds on bytes and time that hold for a
// whole request: a client that sends a byte a second, or never takes its answer, is cut off.
#pragma once

#include <httplib.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <mutex>
#include <set>
#include <string>

#include "experiments/cli/serve/http_server.h"

namespace leash::cli {

class HttpConnection final : public httplib::Stream, public Caller {
 public:
  using Clock = std::chrono::steady_clock;

  HttpConnection(int socket, const HttpConfig& config);

  // Whether a request begins within the idle time.
  bool wait_for_request();
  // Its headers were read: its body may follow.
  void allow_body();
  // It was read whole.
  void begin_answer();
  // The next request may follow on this connection: nothing of this one is left unread.
  bool reusable() const { return answering_; }
  // Lets the client read the last answer before the connection goes, though it is still sending.
  void linger();

  bool gone() const override;
  // Cut off by another thread, to make room.
  void cut_off() const;
  bool answering() const { return answering_; }
  Clock::time_point since() const { return since_; }

  bool is_readable() const override;
  bool is_writable() const override;
  ssize_t read(char* into, size_t size) override;
  ssize_t write(const char* from, size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return socket_; }

 private:
  bool wait_until(short events, Clock::time_point deadline) const;
  bool fill(Clock::time_point deadline);

  int socket_;
  const HttpConfig& config_;
  std::array<char, 16384> buffer_;
  size_t begin_ = 0, end_ = 0;  // of what was read ahead
  size_t allowed_ = 0;          // bytes that this request may still have
  Clock::time_point deadline_;
  std::atomic<bool> answering_ = false;
  std::atomic<Clock::time_point> since_;
};

// All that are open.
class HttpConnections {
 public:
  explicit HttpConnections(size_t most) : most_(most) {}
  // Makes room by cutting off whoever has kept the server waiting longest. False: all are being
  // answered.
  bool enter(HttpConnection* connection);
  void leave(HttpConnection* connection);
  void cut_off_all();
  size_t size() const;

 private:
  mutable std::mutex mutex_;
  std::set<HttpConnection*> open_;
  size_t most_;
};

}  // namespace leash::cli

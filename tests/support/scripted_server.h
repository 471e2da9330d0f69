// A small HTTP server on this machine that says what a test wants, byte by byte.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace leash::testing {

struct ScriptedReply {
  std::string bytes{};       // all of it; the connection is closed behind it
  double delay_seconds = 0;  // before the first byte
};

// With Content-Length; `headers` are whole lines with their line breaks.
std::string http_reply(int status, const std::string& body, const std::string& headers = "");

class ScriptedServer {
 public:
  // Gets the request (header and body) and its number from 0 on; several at a time.
  using Handler = std::function<ScriptedReply(const std::string& request, int64_t number)>;
  explicit ScriptedServer(Handler handler);
  ~ScriptedServer();
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  int port() const { return port_; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/score"; }
  std::vector<std::string> requests() const;
  int64_t most_at_once() const { return most_at_once_; }

 private:
  void serve();
  void answer(int connection);

  Handler handler_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> ends_ = false;
  std::atomic<int64_t> at_once_ = 0, most_at_once_ = 0;
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;
  std::vector<std::thread> connections_;
  std::thread acceptor_;
};

}  // namespace leash::testing

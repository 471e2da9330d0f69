// HTTP/1.1 for a handful of routes: who may ask, how much, and for how long. What the routes mean
// is api.h's.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace leash::cli {

// Who asked, while the answer is made.
class Caller {
 public:
  virtual ~Caller() = default;
  // Nobody is there any more to take the answer.
  virtual bool gone() const = 0;
};

struct HttpReply {
  // The body's next piece, empty while there is none; nothing: it is complete. It is destroyed when
  // the body is complete or its reader is gone.
  using NextPiece = std::function<std::optional<std::string>()>;

  int status = 200;
  std::string type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers = {};
  NextPiece next_piece = {};  // in place of `body`
};

struct HttpRoute {
  std::string method;  // GET or POST
  std::string path;
  bool open = false;  // needs no key
  std::function<HttpReply(const std::string& body, const Caller& caller)> answer;
};

struct HttpConfig {
  std::string host = "127.0.0.1";
  int port = 8080;  // 0: one that is free
  std::string key;  // empty: none is needed
  size_t max_connections = 256;
  size_t max_body = size_t{8} << 20;         // bytes
  std::chrono::seconds idle_time{15};        // a connection without a request
  std::chrono::seconds reading_time{30};     // from a request's first byte to its last
  std::chrono::seconds answering_time{600};  // until the answer's last byte is written
};

class HttpServer {
 public:
  // Binds the port. std::runtime_error says why it cannot.
  HttpServer(const HttpConfig& config, std::vector<HttpRoute> routes);
  ~HttpServer();
  int port() const;
  size_t connections() const;
  // Until stop().
  void run();
  void stop();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// In a time that depends on the lengths alone.
bool same_key(const std::string& given, const std::string& wanted);

// {"error": {…}} as OpenAI's clients read it.
HttpReply http_error(int status, const std::string& message, const std::string& parameter = "");

}  // namespace leash::cli

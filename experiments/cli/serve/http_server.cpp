// cpp-httplib accepts, parses and writes; connections (their number, bytes and time) are ours.
#include "experiments/cli/serve/http_server.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "experiments/cli/serve/http_connection.h"

namespace leash::cli {
namespace {

constexpr int kBacklog = 512;
constexpr int kMostRequests = 10'000;  // on one connection

thread_local HttpConnection* current_connection = nullptr;
thread_local bool no_thread_left = false;

// A thread for each connection; how many there are is HttpConnections' business.
class ConnectionThreads final : public httplib::TaskQueue {
 public:
  void enqueue(std::function<void()> task) override {
    {
      const std::lock_guard lock(mutex_);
      ++running_;
    }
    try {
      std::thread([this, task] {
        task();
        end_one();
      }).detach();
    } catch (const std::system_error&) {  // the connection is refused by whoever accepted it
      no_thread_left = true;
      task();
      no_thread_left = false;
      end_one();
    }
  }
  void shutdown() override {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this] { return running_ == 0; });
  }

 private:
  void end_one() {
    const std::lock_guard lock(mutex_);
    --running_;
    ended_.notify_all();  // with the lock: whoever waits destroys this
  }
  std::mutex mutex_;
  std::condition_variable ended_;
  int64_t running_ = 0;
};

// Not the library's default, with which two servers share a port without a word.
void reuse_address(socket_t socket) {
  const int on = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
}

}  // namespace

class BoundedServer final : public httplib::Server {
 public:
  explicit BoundedServer(const HttpConfig& config)
      : config_(config), connections_(config.max_connections) {
    new_task_queue = [] { return new ConnectionThreads; };
    set_socket_options(reuse_address);
    set_payload_max_length(config.max_body);
    set_keep_alive_max_count(kMostRequests);
    set_keep_alive_timeout(config.idle_time.count());
  }
  void deepen_queue() { ::listen(svr_sock_, kBacklog); }
  HttpConnections& connections() { return connections_; }

 private:
  bool process_and_close_socket(socket_t socket) override {
    HttpConnection connection(socket, config_);
    if (!no_thread_left && connections_.enter(&connection)) {
      current_connection = &connection;
      converse(connection);
      current_connection = nullptr;
      connections_.leave(&connection);
    } else {
      constexpr std::string_view kBusy =
          "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
          "Connection: close\r\n\r\n";
      ::send(socket, kBusy.data(), kBusy.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      ::shutdown(socket, SHUT_WR);
    }
    ::close(socket);
    return true;
  }

  void converse(HttpConnection& connection) {
    for (int request = 1; request <= kMostRequests; ++request) {
      if (!connection.wait_for_request()) return;
      bool closed = false;
      const bool answered = process_request(connection, request == kMostRequests, closed,
                                            [&](httplib::Request&) { connection.allow_body(); });
      if (!answered || closed || !connection.reusable()) break;
    }
    connection.linger();
  }

  const HttpConfig& config_;
  HttpConnections connections_;
};

namespace {

void write_reply(HttpReply reply, httplib::Response& response) {
  response.status = reply.status;
  for (const auto& [name, value] : reply.headers) response.set_header(name, value);
  if (!reply.next_piece) {
    response.set_content(reply.body, reply.type);
    return;
  }
  const HttpConnection* connection = current_connection;
  response.set_chunked_content_provider(reply.type, [next = std::move(reply.next_piece),
                                                     connection](size_t, httplib::DataSink& sink) {
    const std::optional<std::string> piece = next();
    if (!piece) {
      sink.done();
      return true;
    }
    return piece->empty() ? !connection->gone() : sink.write(piece->data(), piece->size());
  });
}

// A request that is refused before its body was read ends the connection.
void refuse(HttpReply reply, httplib::Response& response) {
  reply.headers.emplace_back("Connection", "close");
  write_reply(std::move(reply), response);
}

// Nothing, or why a request is refused before its body is read.
std::optional<HttpReply> refusal_of(const httplib::Request& request, const HttpConfig& config,
                                    const std::vector<HttpRoute>& routes) {
  const auto open = [&](const HttpRoute& route) {
    return route.open && route.path == request.path;
  };
  const std::string given = request.get_header_value("Authorization");
  if (!config.key.empty() && std::ranges::none_of(routes, open) &&
      !same_key(given, "Bearer " + config.key)) {
    return http_error(401, "the key is missing or wrong: Authorization: Bearer KEY");
  }
  // Packed, a small body could become any size.
  const std::string encoding = request.get_header_value("Content-Encoding");
  if (!encoding.empty() && encoding != "identity") {
    return http_error(415, "Content-Encoding is not supported: send the body as it is");
  }
  const std::string length = request.get_header_value("Content-Length");
  uint64_t bytes = 0;
  const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), bytes);
  if (!length.empty() && (error != std::errc() || *end != '\0')) {
    return http_error(400, "Content-Length is no number");
  }
  if (bytes > config.max_body) {
    return http_error(413, fmt::format("the body may have at most {} bytes", config.max_body));
  }
  return std::nullopt;
}

}  // namespace

bool same_key(const std::string& given, const std::string& wanted) {
  unsigned char difference = given.size() == wanted.size() ? 0 : 1;
  for (size_t i = 0; i < given.size(); ++i) {
    const unsigned char expected =
        wanted.empty() ? 0 : static_cast<unsigned char>(wanted[i % wanted.size()]);
    difference |= static_cast<unsigned char>(given[i]) ^ expected;
  }
  return difference == 0;
}

HttpReply http_error(int status, const std::string& message, const std::string& parameter) {
  const char* type = status == 401   ? "authentication_error"
                     : status == 429 ? "rate_limit_error"
                     : status < 500  ? "invalid_request_error"
                                     : "server_error";
  const nlohmann::ordered_json error = {
      {"message", message},
      {"type", type},
      {"param", parameter.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(parameter)},
      {"code", status}};
  return {.status = status,
          .body = nlohmann::ordered_json{{"error", error}}.dump(
              -1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)};
}

struct HttpServer::State {
  HttpConfig config;
  std::vector<HttpRoute> routes;
  BoundedServer server{config};
  int port = 0;
  std::atomic<bool> stopping = false;

  void bind() {
    errno = 0;
    if (port == 0 && config.port == 0) {
      port = server.bind_to_any_port(config.host);
    } else if (server.bind_to_port(config.host, config.port == 0 ? port : config.port)) {
      port = config.port == 0 ? port : config.port;
    } else {
      port = -1;
    }
    if (port < 0) {
      throw std::runtime_error(fmt::format(
          "cannot listen at {}:{} ({}): another --port or --host may be free", config.host,
          config.port, errno != 0 ? std::strerror(errno) : "no such address"));
    }
    server.deepen_queue();
  }

  void add(const HttpRoute& route) {
    const auto answer = [&route](const httplib::Request& request, httplib::Response& response) {
      current_connection->begin_answer();
      write_reply(route.answer(request.body, *current_connection), response);
    };
    std::string pattern;  // the library takes a regular expression
    for (const char c : route.path) pattern += c == '.' ? "\\." : std::string(1, c);
    route.method == "GET" ? server.Get(pattern, answer) : server.Post(pattern, answer);
  }

  void add_all() {
    for (const HttpRoute& route : routes) add(route);
    server.set_pre_routing_handler(
        [this](const httplib::Request& request, httplib::Response& response) {
          auto refusal = refusal_of(request, config, routes);
          if (!refusal) return httplib::Server::HandlerResponse::Unhandled;
          refuse(std::move(*refusal), response);
          return httplib::Server::HandlerResponse::Handled;
        });
    server.set_error_handler([](const httplib::Request& request, httplib::Response& response) {
      if (!response.body.empty()) return;
      refuse(http_error(response.status,
                        response.status == 404
                            ? fmt::format("there is no {} {}", request.method, request.path)
                            : std::string("this is no request that is understood")),
             response);
    });
    server.set_exception_handler(
        [](const httplib::Request&, httplib::Response& response, std::exception_ptr) {
          write_reply(http_error(500, "the request failed"), response);
        });
  }
};

HttpServer::HttpServer(const HttpConfig& config, std::vector<HttpRoute> routes)
    : state_(new State{.config = config, .routes = std::move(routes)}) {
  state_->add_all();
  state_->bind();
}

HttpServer::~HttpServer() = default;

int HttpServer::port() const { return state_->port; }
size_t HttpServer::connections() const { return state_->server.connections().size(); }

void HttpServer::run() {
  // The library's loop also ends at an error of one accept: the port is opened again.
  while (!state_->server.listen_after_bind() && !state_->stopping) state_->bind();
}

void HttpServer::stop() {
  state_->stopping = true;
  state_->server.stop();
  state_->server.connections().cut_off_all();
}

}  // namespace leash::cli

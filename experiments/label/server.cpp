#include "experiments/label/server.h"

#include <fmt/format.h>
#include <httplib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

#include "experiments/label/page.h"
#include "experiments/label/request.h"
#include "experiments/label/summary.h"
#include "experiments/label/view_json.h"
#include "models/errors.h"
#include "models/printable.h"

namespace leash::label {
namespace {

using httplib::Request;
using httplib::Response;

constexpr int64_t kWaitMilliseconds = 1000;  // for answers that are being sampled
constexpr const char* kJson = "application/json";

std::string machine_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof(name) - 1) == 0 ? name : "";
}

void reply(Response& response, const Json& json, int status = 200) {
  response.status = status;
  response.set_content(json.dump(-1, ' ', false, Json::error_handler_t::replace), kJson);
}

void refuse(Response& response, int status, const std::string& why) {
  reply(response, {{"error", why}}, status);
}

// The token of a request: `Authorization: Bearer`, else `?token=`.
std::string token_of(const Request& request) {
  constexpr std::string_view kBearer = "Bearer ";
  const std::string header = request.get_header_value("Authorization");
  if (header.starts_with(kBearer)) return header.substr(kBearer.size());
  return request.get_param_value("token");
}

// Nothing may be loaded, framed, kept or told to others; the page's own script and style carry a
// number that is new for each answer.
void add_headers(Response& response, const std::string& nonce) {
  const std::string own = nonce.empty() ? "'none'" : fmt::format("'nonce-{}'", nonce);
  const std::pair<const char*, std::string> headers[] = {
      {"Content-Security-Policy",
       fmt::format("default-src 'none'; script-src {0}; style-src {0}; connect-src 'self'; "
                   "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
                   "require-trusted-types-for 'script'; trusted-types 'none'",
                   own)},
      {"X-Content-Type-Options", "nosniff"},
      {"X-Frame-Options", "DENY"},
      {"Referrer-Policy", "no-referrer"},
      {"Cache-Control", "no-store"},
      {"Cross-Origin-Opener-Policy", "same-origin"},
      {"Cross-Origin-Resource-Policy", "same-origin"}};
  for (const auto& [name, value] : headers) {
    response.headers.erase(name);  // set_header would give it a second time
    response.set_header(name, value);
  }
}

// Without SO_REUSEPORT, which httplib sets: two servers would share a port, and neither would know.
void socket_options(socket_t socket) {
  const int yes = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
}

}  // namespace

struct LabelServer::Parts {
  LabelSession& session;
  ServerOptions options;
  std::string machine = machine_name();
  int port = 0;
  httplib::Server server = {};
  std::thread thread = {};

  // Why a request is not for anybody here; the status, or 0.
  int refusal(const Request& request) const {
    const std::string host = request.get_header_value("Host");
    if (request.get_header_value_count("Host") != 1 || !host_allowed(host, options.host, machine)) {
      return 421;
    }
    if (!origin_allowed(request.get_header_value("Origin"), host,
                        request.get_header_value("Sec-Fetch-Site")) &&
        !is_page_opened(request)) {
      return 403;
    }
    return user_of_token(options.tokens, token_of(request)) ? 0 : 401;
  }

  // A link in a mail or chat leads to the page from another site, which hands over nothing but the
  // address.
  static bool is_page_opened(const Request& request) {
    return request.method == "GET" && request.path == "/" &&
           request.get_header_value("Sec-Fetch-Mode") == "navigate" &&
           request.get_header_value("Origin").empty();
  }

  std::string user_of(const Request& request) const {
    return user_of_token(options.tokens, token_of(request)).value();
  }

  void answer(const Request& request, Response& response,
              const std::function<View(const std::string&)>& act) const {
    const std::string user = user_of(request);
    try {
      reply(response, view_json(act(user), user));
    } catch (const StalePair& stale) {
      Json json = view_json(session.view(user), user);
      json["error"] = stale.what();
      reply(response, json, 409);
    } catch (const FormatError& error) {
      refuse(response, 400, printable(error.what(), 400));
    } catch (const std::system_error& error) {
      refuse(response, 507, fmt::format("not saved: {}", printable(error.what(), 400)));
    }
  }

  void statistics(Response& response) const {
    reply(response, summary_json(summarise_state(session.state(), options.seed)));
  }

  void set_routes();
  void set_rules();
};

void LabelServer::Parts::set_rules() {
  server.set_socket_options(socket_options);
  server.set_payload_max_length(kMostBody);
  server.set_read_timeout(10);
  server.set_write_timeout(10);
  // One request a connection: what is left of a body that was refused is never read as the next.
  server.set_keep_alive_max_count(1);
  server.set_pre_routing_handler([this](const Request& request, Response& response) {
    add_headers(response, "");
    const int status = refusal(request);
    // A body that has to be unpacked could be of any size.
    const bool packed = request.has_header("Content-Encoding");
    if (status == 0 && !packed) return httplib::Server::HandlerResponse::Unhandled;
    refuse(response, status != 0 ? status : 415,
           status == 401   ? "open the address that `leash label` printed, token included"
           : status == 403 ? "the request comes from another site"
           : status == 421 ? "this server does not go by that name"
                           : "bodies are plain JSON");
    return httplib::Server::HandlerResponse::Handled;
  });
  server.set_error_handler([](const Request&, Response& response) {
    add_headers(response, "");
    if (response.body.empty()) refuse(response, response.status, "there is no such thing here");
  });
  server.set_exception_handler([](const Request&, Response& response, std::exception_ptr problem) {
    add_headers(response, "");
    try {
      std::rethrow_exception(std::move(problem));
    } catch (const std::exception& error) {
      refuse(response, 500, printable(error.what(), 400));
    } catch (...) {
      refuse(response, 500, "unknown error");
    }
  });
}

void LabelServer::Parts::set_routes() {
  server.Get("/", [](const Request&, Response& response) {
    const std::string nonce = make_token();
    add_headers(response, nonce);
    response.set_content(page_html(nonce), "text/html; charset=utf-8");
  });
  server.Get("/api/next", [this](const Request& request, Response& response) {
    answer(request, response, [this](const std::string& user) {
      return session.view_or_wait(user, kWaitMilliseconds);
    });
  });
  server.Post("/api/judge", [this](const Request& request, Response& response) {
    answer(request, response, [&](const std::string& user) {
      const JudgeRequest said = parse_judge_request(request.body);
      return session.judge(user, said.pair, said.verdict, said.comment);
    });
  });
  server.Post("/api/undo", [this](const Request& request, Response& response) {
    answer(request, response, [&](const std::string& user) {
      return session.undo(user, parse_undo_request(request.body));
    });
  });
  server.Post("/api/finish", [this](const Request& request, Response& response) {
    session.finish(user_of(request));
    reply(response, Json{{"finished", true}});
  });
  server.Get("/api/statistics",
             [this](const Request&, Response& response) { statistics(response); });
}

LabelServer::LabelServer(LabelSession& session, ServerOptions options)
    : parts_(new Parts{.session = session, .options = std::move(options)}) {
  parts_->set_rules();
  parts_->set_routes();
  const std::string& host = parts_->options.host;
  if (parts_->options.port == 0) {
    parts_->port = parts_->server.bind_to_any_port(host);
  } else if (parts_->server.bind_to_port(host, parts_->options.port)) {
    parts_->port = parts_->options.port;
  }
  if (parts_->port <= 0) {
    throw ConfigError(
        fmt::format("cannot listen on {}:{} (in use, or not an address of this "
                    "machine; --port 0 takes any free port)",
                    host, parts_->options.port));
  }
}

LabelServer::~LabelServer() { stop(); }

int LabelServer::port() const { return parts_->port; }

std::string LabelServer::address(const std::string& user) const {
  const std::string& bound = parts_->options.host;
  const bool everywhere = bound == "0.0.0.0" || bound == "::";
  const std::string name = everywhere ? parts_->machine : bound;
  const bool six = name.find(':') != name.npos;
  for (const auto& [token, owner] : parts_->options.tokens) {
    if (owner != user) continue;
    return fmt::format("http://{}{}{}:{}/?token={}", six ? "[" : "", name, six ? "]" : "",
                       parts_->port, token);
  }
  throw std::out_of_range("nobody of this name has a token");
}

void LabelServer::start() {
  parts_->thread = std::thread([this] { parts_->server.listen_after_bind(); });
}

void LabelServer::stop() {
  if (!parts_->thread.joinable()) return;
  // stop() has no effect before the thread listens.
  while (!parts_->server.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  parts_->server.stop();
  parts_->thread.join();
}

}  // namespace leash::label

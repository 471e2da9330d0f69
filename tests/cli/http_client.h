// Requests over a socket of one's own, so that they can be wrong in every way.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace leash::testing {

struct HttpAnswer {
  int status = 0;  // 0: none came
  std::map<std::string, std::string> headers;
  std::string body;

  nlohmann::json json() const { return nlohmann::json::parse(body, nullptr, false); }
  // The data of its events.
  std::vector<std::string> events() const {
    std::vector<std::string> found;
    size_t at = 0;
    while ((at = body.find("data: ", at)) != std::string::npos) {
      const size_t end = body.find("\n\n", at);
      found.push_back(body.substr(at + 6, end - at - 6));
      at = end;
    }
    return found;
  }
};

// A connection to this machine.
class HttpSocket {
 public:
  explicit HttpSocket(int port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const timeval patience{.tv_sec = 60, .tv_usec = 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  ~HttpSocket() { ::close(socket_); }
  HttpSocket(const HttpSocket&) = delete;
  HttpSocket& operator=(const HttpSocket&) = delete;

  bool connected() const { return connected_; }
  bool send(std::string_view text) {
    while (!text.empty()) {
      const ssize_t sent = ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      text.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  // Some bytes; empty at the end.
  std::string some() {
    char buffer[65536];
    const ssize_t got = ::recv(socket_, buffer, sizeof(buffer), 0);
    return got > 0 ? std::string(buffer, static_cast<size_t>(got)) : std::string();
  }
  std::string all() {
    std::string text;
    for (std::string more = some(); !more.empty(); more = some()) text += more;
    return text;
  }

 private:
  int socket_;
  bool connected_ = false;
};

inline std::string unchunked(std::string_view body) {
  std::string text;
  while (!body.empty()) {
    const size_t line = body.find("\r\n");
    const size_t length = std::strtoul(std::string(body.substr(0, line)).c_str(), nullptr, 16);
    if (line == body.npos || length == 0 || body.size() < line + 2 + length) break;
    text += body.substr(line + 2, length);
    body.remove_prefix(std::min(body.size(), line + 2 + length + 2));
  }
  return text;
}

inline HttpAnswer parse_answer(std::string_view text) {
  HttpAnswer answer;
  const size_t end = text.find("\r\n\r\n");
  if (!text.starts_with("HTTP/1.1 ") || end == text.npos) return answer;
  answer.status = std::atoi(std::string(text.substr(9, 3)).c_str());
  std::string_view head = text.substr(0, end + 2);
  for (size_t line = head.find("\r\n") + 2; line < head.size();) {
    const size_t next = head.find("\r\n", line), colon = head.find(": ", line);
    answer.headers.emplace(head.substr(line, colon - line),
                           head.substr(colon + 2, next - colon - 2));
    line = next + 2;
  }
  const std::string_view body = text.substr(end + 4);
  answer.body = answer.headers.contains("Transfer-Encoding") ? unchunked(body) : std::string(body);
  return answer;
}

inline std::string http_request(const std::string& method, const std::string& path,
                                const std::string& body, const std::string& headers = "") {
  return method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + headers +
         (method == "POST" ? "Content-Type: application/json\r\nContent-Length: " +
                                 std::to_string(body.size()) + "\r\n"
                           : "") +
         "\r\n" + body;
}

inline HttpAnswer http(int port, const std::string& method, const std::string& path,
                       const std::string& body = "", const std::string& headers = "") {
  HttpSocket socket(port);
  socket.send(http_request(method, path, body, headers));
  return parse_answer(socket.all());
}

}  // namespace leash::testing

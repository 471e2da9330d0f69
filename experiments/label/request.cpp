#include "experiments/label/request.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <system_error>

#include "models/errors.h"
#include "models/io/json_file.h"

namespace leash::label {
namespace {

Json object_of(std::string_view body) {
  if (body.size() > kMostBody) throw FormatError("the request is too large");
  Json json = parse_ordered_json(body, "the request");
  if (!json.is_object()) throw FormatError("the request is not a JSON object");
  return json;
}

// Takes a text out of the object, so that what is left is unknown.
std::optional<std::string> take_text(Json& json, const char* key, size_t most) {
  const auto found = json.find(key);
  if (found == json.end()) return std::nullopt;
  if (!found->is_string()) throw FormatError(fmt::format("`{}` has to be a text", key));
  std::string text = found->get<std::string>();
  if (text.size() > most) {
    throw FormatError(
        fmt::format("`{}` has {} bytes, at most {} are taken", key, text.size(), most));
  }
  json.erase(key);
  return text;
}

void require_nothing_else(const Json& json) {
  if (!json.empty()) throw FormatError("unknown key " + brief(json.begin().key()));
}

// The name in a Host header or an address, without its port, in lower case.
std::string name_of(std::string_view host) {
  if (host.starts_with('[')) {
    const size_t end = host.find(']');
    if (end == host.npos) return "";
    host = host.substr(1, end - 1);
  } else if (std::ranges::count(host, ':') == 1) {
    host = host.substr(0, host.find(':'));
  }
  std::string name(host);
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name;
}

bool is_numeric(const std::string& name) {
  in6_addr address;  // room for both
  return ::inet_pton(AF_INET, name.c_str(), &address) == 1 ||
         ::inet_pton(AF_INET6, name.c_str(), &address) == 1;
}

bool is_loopback(const std::string& name) {
  return name == "localhost" || name == "::1" || (name.starts_with("127.") && is_numeric(name));
}

}  // namespace

JudgeRequest parse_judge_request(std::string_view body) {
  Json json = object_of(body);
  JudgeRequest request;
  const auto pair = take_text(json, "pair", 16), verdict = take_text(json, "verdict", 16);
  if (!pair || !verdict) throw FormatError("`pair` and `verdict` are needed");
  const auto known = verdict_of(*verdict);
  if (!known) throw FormatError("unknown verdict " + brief(*verdict));
  request.pair = *pair;
  request.verdict = *known;
  request.comment = take_text(json, "comment", kMostComment).value_or("");
  require_nothing_else(json);
  return request;
}

std::string parse_undo_request(std::string_view body) {
  Json json = object_of(body);
  const std::string pair = take_text(json, "pair", 16).value_or("");
  require_nothing_else(json);
  return pair;
}

std::string make_token() {
  uint8_t bytes[32];
  if (::getrandom(bytes, sizeof(bytes), 0) != static_cast<ssize_t>(sizeof(bytes))) {
    throw std::system_error(errno, std::generic_category(), "no random bytes for a token");
  }
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string token;
  uint32_t bits = 0;
  int held = 0;
  for (const uint8_t byte : bytes) {
    bits = bits << 8 | byte;
    for (held += 8; held >= 6; held -= 6) token += kDigits[bits >> (held - 6) & 63];
  }
  return token + kDigits[bits << (6 - held) & 63];
}

std::optional<std::string> user_of_token(const std::map<std::string, std::string>& tokens,
                                         std::string_view token) {
  std::optional<std::string> user;
  for (const auto& [known, name] : tokens) {
    unsigned difference = known.size() == token.size() ? 0 : 1;
    for (size_t i = 0; i < known.size(); ++i) {
      const char other = i < token.size() ? token[i] : '\0';
      difference |= static_cast<unsigned>(static_cast<uint8_t>(known[i] ^ other));
    }
    if (difference == 0) user = name;
  }
  return user;
}

bool host_allowed(std::string_view host, std::string_view bound, std::string_view machine) {
  const std::string name = name_of(host);
  if (name.empty()) return false;
  if (is_loopback(name)) return true;
  const std::string own = name_of(bound);
  if (own == "0.0.0.0" || own == "::") {
    return is_numeric(name) || (!machine.empty() && name == name_of(machine));
  }
  return name == own && !is_loopback(own);
}

bool origin_allowed(std::string_view origin, std::string_view host, std::string_view fetch_site) {
  if (!fetch_site.empty() && fetch_site != "same-origin" && fetch_site != "none") return false;
  return origin.empty() || origin == "http://" + std::string(host);
}

}  // namespace leash::label

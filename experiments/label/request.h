// What comes over HTTP, checked before anything acts on it. Pure functions: the server hands in
// headers and bodies.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "experiments/label/judgement.h"

namespace leash::label {

inline constexpr size_t kMostBody = 64 << 10;  // bytes of a request's body

// Of {"pair", "verdict", "comment"?} and of {"pair"?}. FormatError for anything else.
struct JudgeRequest {
  std::string pair;
  Verdict verdict = Verdict::skip;
  std::string comment;
};
JudgeRequest parse_judge_request(std::string_view body);
std::string parse_undo_request(std::string_view body);  // the pair; may be empty

// 256 random bits of the kernel's as 43 characters that need no escaping in an address.
// std::system_error.
std::string make_token();
// Whose token it is; every known one is compared, byte by byte, whatever it begins with.
std::optional<std::string> user_of_token(const std::map<std::string, std::string>& tokens,
                                         std::string_view token);

// Whether a request that says `host` may be for this server: a browser that was led here under
// another name (DNS rebinding) says that name. Loopback names always are; where the server is bound
// to something else, that address and, for 0.0.0.0 and ::, every numeric address and this machine's
// name. The port is not looked at: it is another one behind an SSH tunnel.
bool host_allowed(std::string_view host, std::string_view bound, std::string_view machine);
// Whether what sent the request is a page of this server, or no page at all. `origin` and
// `fetch_site` are empty where the header is missing.
bool origin_allowed(std::string_view origin, std::string_view host, std::string_view fetch_site);

}  // namespace leash::label

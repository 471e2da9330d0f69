#include "rl/judges/http_url.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <memory>
#include <mutex>
#include <regex>

#include "models/printable.h"

namespace leash {
namespace {

using Url = std::unique_ptr<CURLU, decltype(&curl_url_cleanup)>;

std::string part_of(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, 0) != CURLUE_OK || text == nullptr) return "";
  std::string copy = text;
  curl_free(text);
  return copy;
}

// As requests will read it; null where it is none.
Url parsed_url(const std::string& text) {
  Url url(curl_url(), &curl_url_cleanup);
  if (url && curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK) url.reset();
  return url;
}

bool is_this_machine(const std::string& host) {
  return host == "localhost" || host == "[::1]" ||
         std::regex_match(host, std::regex(R"(127(\.\d{1,3}){3})"));
}

}  // namespace

void begin_curl() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

bool is_on_this_machine(const std::string& url) {
  const Url parsed = parsed_url(url);
  return parsed && is_this_machine(part_of(parsed.get(), CURLUPART_HOST));
}

std::string url_problem(const std::string& url, bool secret) {
  begin_curl();
  const Url parsed = parsed_url(url);
  if (!parsed) return fmt::format("`{}` is no address", printable(url));
  const std::string scheme = part_of(parsed.get(), CURLUPART_SCHEME);
  if (scheme != "http" && scheme != "https") return "has to begin with https:// or http://";
  if (!part_of(parsed.get(), CURLUPART_USER).empty() ||
      !part_of(parsed.get(), CURLUPART_PASSWORD).empty()) {
    return "holds a user's name or password, which resolved.yaml would hold too; put a header into "
           "the environment (header_env)";
  }
  if (secret && scheme == "http" && !is_this_machine(part_of(parsed.get(), CURLUPART_HOST))) {
    return "header_env would travel unencrypted; use https";
  }
  return "";
}

}  // namespace leash

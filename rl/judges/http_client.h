// Requests to one address, several at a time, each tried again where that may help.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace leash {

struct HttpOptions {
  std::string url;
  std::optional<std::string> header = {};  // "Name: value", a secret: in no message of ours
  std::optional<std::filesystem::path> ca_file = {};
  double timeout_seconds = 600;  // of one try
  int64_t concurrency = 4;
  int64_t retries = 4;              // of each request
  double first_wait_seconds = 0.5;  // doubled with every further try, up to half a minute
};

struct HttpRequest {
  std::string body;             // JSON
  size_t longest_reply = 1024;  // bytes
};

// Certificates and the server's name are always checked; redirects are not followed; what is not
// http or https is not spoken. Not for several threads at once.
class HttpClient {
 public:
  explicit HttpClient(HttpOptions options);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Posts all; the bodies of the replies (status 2xx), in their order. A request is sent again when
  // it could not be delivered or its reply came back incomplete or too late, and for 408, 425, 429
  // and 5xx, after a wait or what Retry-After says (five minutes at most). std::runtime_error names
  // the request that failed in the end, and why: all others are given up.
  std::vector<std::string> post(const std::vector<HttpRequest>& requests);

  // For messages about what the server sent, which may be what it was sent.
  std::string without_secret(std::string text) const;

 private:
  struct Multi;
  struct Transfer;
  struct Batch;

  void begin(const HttpRequest& request, size_t index);
  bool take_finished(Batch& batch);
  void finish(Batch& batch, const Transfer& transfer, int code) const;
  std::string outcome(const Transfer& transfer, int code, bool& again, double& wait) const;

  HttpOptions options_;
  std::unique_ptr<Multi> multi_;
};

}  // namespace leash

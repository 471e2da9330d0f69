#include "rl/judges/http_client.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <stdexcept>
#include <utility>

#include "models/printable.h"
#include "rl/judges/http_url.h"

namespace leash {
namespace {

using HttpClock = std::chrono::steady_clock;

constexpr double kLongestWait = 30;
constexpr double kLongestRetryAfter = 300;
constexpr double kConnectSeconds = 30;

// What trying again can mend.
bool is_passing(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
      return true;
    default:
      return false;
  }
}

bool is_passing(long status) {
  return status == 408 || status == 425 || status == 429 || status >= 500;
}

}  // namespace

struct HttpClient::Transfer {
  ~Transfer() {
    if (easy != nullptr) curl_easy_cleanup(easy);
    curl_slist_free_all(headers);
  }
  Transfer() = default;
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  static size_t take(char* data, size_t size, size_t count, void* self) {
    auto* transfer = static_cast<Transfer*>(self);
    const size_t bytes = size * count;
    if (transfer->reply.size() + bytes > transfer->limit) {
      transfer->too_long = true;
      return 0;  // ends the transfer
    }
    transfer->reply.append(data, bytes);
    return bytes;
  }

  CURL* easy = nullptr;
  curl_slist* headers = nullptr;
  size_t index = 0;
  size_t limit = 0;
  bool too_long = false;
  std::string reply;
  std::array<char, CURL_ERROR_SIZE> error{};
};

struct HttpClient::Multi {
  Multi() : handle(curl_multi_init()) {
    if (handle == nullptr) throw std::bad_alloc();
  }
  ~Multi() {
    give_up();
    curl_multi_cleanup(handle);
  }
  Multi(const Multi&) = delete;
  Multi& operator=(const Multi&) = delete;

  void give_up() {
    for (auto& [easy, transfer] : running) curl_multi_remove_handle(handle, easy);
    running.clear();
  }

  CURLM* handle;
  std::map<CURL*, std::unique_ptr<Transfer>> running;
};

HttpClient::HttpClient(HttpOptions options) : options_(std::move(options)) {
  begin_curl();
  multi_ = std::make_unique<Multi>();
}

HttpClient::~HttpClient() = default;

void HttpClient::begin(const HttpRequest& request, size_t index) {
  auto transfer = std::make_unique<Transfer>();
  transfer->index = index;
  transfer->limit = request.longest_reply;
  transfer->easy = curl_easy_init();
  if (transfer->easy == nullptr) throw std::bad_alloc();
  for (const char* line :
       {"Content-Type: application/json", "Accept: application/json", "Expect:"}) {
    transfer->headers = curl_slist_append(transfer->headers, line);
  }
  if (options_.header) {
    transfer->headers = curl_slist_append(transfer->headers, options_.header->c_str());
  }
  CURL* easy = transfer->easy;
  const auto milliseconds = [](double seconds) {
    return static_cast<long>(std::clamp(seconds * 1000, 1.0, 2e9));
  };
  curl_easy_setopt(easy, CURLOPT_URL, options_.url.c_str());
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_POST, 1L);
  curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.data());
  curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "leash");
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
  curl_easy_setopt(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (options_.ca_file) curl_easy_setopt(easy, CURLOPT_CAINFO, options_.ca_file->c_str());
  if (is_on_this_machine(options_.url)) curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, milliseconds(options_.timeout_seconds));
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                   milliseconds(std::min(options_.timeout_seconds, kConnectSeconds)));
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Transfer::take);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer.get());
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error.data());
  if (curl_multi_add_handle(multi_->handle, easy) != CURLM_OK) {
    throw std::runtime_error("curl took no more requests");
  }
  multi_->running.emplace(easy, std::move(transfer));
}

// What went wrong; empty where nothing did.
std::string HttpClient::outcome(const Transfer& transfer, int code, bool& again,
                                double& wait) const {
  const auto result = static_cast<CURLcode>(code);
  if (transfer.too_long) return fmt::format("replied with more than {} bytes", transfer.limit);
  if (result != CURLE_OK) {
    again = is_passing(result);
    const std::string detail = transfer.error.data();
    return detail.empty() ? curl_easy_strerror(result) : detail;
  }
  long status = 0;
  curl_easy_getinfo(transfer.easy, CURLINFO_RESPONSE_CODE, &status);
  if (status >= 200 && status < 300) return "";
  if (status >= 300 && status < 400) {
    char* location = nullptr;
    curl_easy_getinfo(transfer.easy, CURLINFO_REDIRECT_URL, &location);
    return fmt::format("redirects ({}) to {}; leash follows no redirect: name that address as url",
                       status, location != nullptr ? printable(location, 200) : "nowhere");
  }
  again = is_passing(status);
  curl_off_t after = 0;
  curl_easy_getinfo(transfer.easy, CURLINFO_RETRY_AFTER, &after);
  wait = std::clamp(static_cast<double>(after), 0.0, kLongestRetryAfter);
  return fmt::format("replied with status {}: {}", status,
                     printable(without_secret(transfer.reply), 200));
}

std::string HttpClient::without_secret(std::string text) const {
  if (!options_.header) return text;
  const std::string& header = *options_.header;
  const size_t value = header.find_first_not_of(" \t", header.find(':') + 1);
  if (value == header.npos) return text;
  std::vector<std::string> secrets = {header.substr(value)};
  secrets.push_back(header.substr(header.find_last_of(" \t:") + 1));
  for (const std::string& secret : secrets) {
    if (secret.empty()) continue;
    for (size_t at = text.find(secret); at != text.npos; at = text.find(secret, at + 3)) {
      text.replace(at, secret.size(), "***");
    }
  }
  return text;
}

// The requests of one call, on their way.
struct HttpClient::Batch {
  struct Waiting {
    HttpClock::time_point due;
    size_t index;
  };

  explicit Batch(const std::vector<HttpRequest>& all)
      : requests(all), replies(all.size()), tries(all.size(), 0), left(all.size()) {
    for (size_t i = 0; i < all.size(); ++i) waiting.push_back({HttpClock::now(), i});
  }
  // The one that has waited longest, where its time has come.
  std::optional<size_t> next_due() {
    const auto first = std::ranges::min_element(
        waiting, {}, [](const Waiting& each) { return std::pair(each.due, each.index); });
    if (first == waiting.end() || first->due > HttpClock::now()) return std::nullopt;
    const size_t index = first->index;
    waiting.erase(first);
    return index;
  }

  const std::vector<HttpRequest>& requests;
  std::vector<std::string> replies;
  std::vector<int64_t> tries;  // begun
  std::vector<Waiting> waiting;
  size_t left;
};

// Takes the reply, or has the request wait for its next try.
void HttpClient::finish(Batch& batch, const Transfer& transfer, int code) const {
  bool again = false;
  double wait = 0;
  const std::string problem = outcome(transfer, code, again, wait);
  const size_t index = transfer.index;
  if (problem.empty()) {
    batch.replies[index] = transfer.reply;
    --batch.left;
    return;
  }
  const int64_t tries = batch.tries[index];
  if (!again || tries > options_.retries) {
    throw std::runtime_error(without_secret(
        fmt::format("request {} of {}{}: {}", index + 1, batch.requests.size(),
                    tries > 1 ? fmt::format(", after {} tries", tries) : "", problem)));
  }
  const double own = options_.first_wait_seconds *
                     static_cast<double>(int64_t{1} << std::min<int64_t>(tries - 1, 20));
  const std::chrono::duration<double> pause(std::max(std::min(own, kLongestWait), wait));
  batch.waiting.push_back(
      {HttpClock::now() + std::chrono::duration_cast<HttpClock::duration>(pause), index});
}

// Whether any request came to its end.
bool HttpClient::take_finished(Batch& batch) {
  bool any = false;
  int queued = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_->handle, &queued)) {
    if (message->msg != CURLMSG_DONE) continue;
    any = true;
    const CURLcode code = message->data.result;  // is gone with the handle
    const auto found = multi_->running.find(message->easy_handle);
    const std::unique_ptr<Transfer> transfer = std::move(found->second);
    multi_->running.erase(found);
    curl_multi_remove_handle(multi_->handle, transfer->easy);
    finish(batch, *transfer, code);
  }
  return any;
}

std::vector<std::string> HttpClient::post(const std::vector<HttpRequest>& requests) {
  Batch batch(requests);
  try {
    while (batch.left > 0) {
      while (std::ssize(multi_->running) < options_.concurrency) {
        const auto index = batch.next_due();
        if (!index) break;
        ++batch.tries[*index];
        begin(requests[*index], *index);
      }
      int running = 0;
      curl_multi_perform(multi_->handle, &running);
      if (take_finished(batch)) continue;
      curl_multi_poll(multi_->handle, nullptr, 0, running > 0 ? 200 : 20, nullptr);
    }
  } catch (...) {
    multi_->give_up();
    throw;
  }
  return std::move(batch.replies);
}

}  // namespace leash

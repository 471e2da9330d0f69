#include "rl/reward/http.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <utility>

#include "models/errors.h"
#include "models/printable.h"
#include "rl/judges/http_url.h"
#include "rl/judges/replies.h"
#include "rl/reward/sample_json.h"
#include "rl/run/json_line.h"

namespace leash {
namespace {

// The header that an environment variable holds; what it holds is in no message.
std::string header_in(const std::string& variable) {
  const char* value = std::getenv(variable.c_str());
  if (value == nullptr || *value == '\0') {
    throw ConfigError(
        fmt::format("header_env: the environment has no {}; it has to hold a header, "
                    "as \"Authorization: Bearer …\"",
                    printable(variable)));
  }
  const std::string header = value;
  const size_t colon = header.find(':');
  const bool one_line = std::ranges::all_of(
      header, [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7F; });
  const auto is_name = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  };
  if (colon == 0 || colon == header.npos || !one_line ||
      !std::ranges::all_of(header.substr(0, colon), is_name)) {
    throw ConfigError(
        fmt::format("header_env: {} holds no header of the form Name: value", printable(variable)));
  }
  return header;
}

HttpOptions options_of(const RewardConfig& config) {
  HttpOptions options{.url = config.url.value(),
                      .ca_file = config.ca_file,
                      .timeout_seconds = config.timeout_seconds,
                      .concurrency = config.concurrency,
                      .retries = config.retries};
  if (config.header_env) options.header = header_in(*config.header_env);
  return options;
}

// A reply that is no list of scores is quoted in the error, but for the secret.
std::vector<double> scores_of_reply(const HttpClient& client, const std::string& reply,
                                    size_t count) {
  try {
    return parse_score_list(reply, count);
  } catch (const std::runtime_error&) {
    (void)parse_score_list(client.without_secret(reply), count);  // throws the same without it
    throw std::runtime_error("the reply is no list of scores");
  }
}

}  // namespace

std::vector<std::string> http_problems(const RewardConfig& config) {
  std::vector<std::string> problems;
  if (!config.url || config.url->empty()) {
    problems.emplace_back("url: kind: http needs an address");
  } else if (const std::string problem = url_problem(*config.url, config.header_env.has_value());
             !problem.empty()) {
    problems.push_back("url: " + problem);
  }
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  if (config.header_env &&
      (config.header_env->empty() || !std::ranges::all_of(*config.header_env, is_plain))) {
    problems.emplace_back(
        "header_env: has to be the name of an environment variable that holds a header, not the "
        "header");
  }
  return problems;
}

HttpReward::HttpReward(const RewardConfig& config)
    : HttpReward(options_of(config), config.batch_size, config.ids) {}

HttpReward::HttpReward(HttpOptions options, int64_t batch_size, bool ids)
    : url_(options.url),
      batch_size_(batch_size),
      ids_(ids),
      client_(std::make_unique<HttpClient>(std::move(options))) {}

std::vector<double> HttpReward::score(const std::vector<RewardSample>& samples) const {
  const std::lock_guard lock(*mutex_);
  std::vector<HttpRequest> requests;
  std::vector<size_t> counts;
  const auto size = static_cast<size_t>(batch_size_);
  for (size_t begin = 0; begin < samples.size(); begin += size) {
    const size_t end = std::min(begin + size, samples.size());
    nlohmann::ordered_json answers = nlohmann::ordered_json::array();
    for (size_t i = begin; i < end; ++i) answers.push_back(sample_json(samples[i], ids_));
    counts.push_back(end - begin);
    requests.push_back({.body = json_line({{"answers", std::move(answers)}}),
                        .longest_reply = longest_reply(end - begin)});
  }
  std::vector<double> scores;
  try {
    const std::vector<std::string> replies = client_->post(requests);
    for (size_t i = 0; i < replies.size(); ++i) {
      const auto part = scores_of_reply(*client_, replies[i], counts[i]);
      scores.insert(scores.end(), part.begin(), part.end());
    }
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(
        fmt::format("the reward endpoint {}: {}", url_, client_->without_secret(error.what())));
  }
  return scores;
}

}  // namespace leash

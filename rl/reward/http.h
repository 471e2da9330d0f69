// A reward that an endpoint computes.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "rl/judges/http_client.h"
#include "rl/reward/config.h"
#include "rl/reward/source.h"

namespace leash {

// Posts {"answers": [sample_json(…), …]}, `batch_size` of them a request, and reads as many scores
// back (parse_score_list). std::runtime_error where a request fails in the end (HttpClient), or a
// reply is no list of as many finite numbers.
class HttpReward final : public RewardSource {
 public:
  // ConfigError where header_env names no variable, or one that holds no header.
  explicit HttpReward(const RewardConfig& config);
  HttpReward(HttpOptions options, int64_t batch_size, bool ids);
  std::vector<double> score(const std::vector<RewardSample>& samples) const override;

 private:
  std::string url_;
  int64_t batch_size_;
  bool ids_;
  std::unique_ptr<std::mutex> mutex_ = std::make_unique<std::mutex>();  // of the client
  std::unique_ptr<HttpClient> client_;
};

// What is wrong with the settings of `kind: http`, each with its key.
std::vector<std::string> http_problems(const RewardConfig& config);

}  // namespace leash

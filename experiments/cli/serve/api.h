// OpenAI's API over a serving engine.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "experiments/cli/load_model.h"
#include "experiments/cli/serve/exchange.h"
#include "experiments/cli/serve/http_server.h"
#include "experiments/cli/serve/requests.h"
#include "experiments/cli/serve/served_models.h"
#include "rl/data/encode.h"
#include "rollout/serving.h"

namespace leash::cli {

class ServingApi {
 public:
  // All outlive it. `defaults`: of requests that say nothing about sampling.
  ServingApi(const LoadedModel& base, const ServedModels& models, ServingEngine& engine,
             const SamplingConfig& defaults, std::chrono::seconds answering_time);

  // `connections` is asked when metrics are.
  std::vector<HttpRoute> routes(std::function<size_t()> connections);

 private:
  HttpReply models() const;
  HttpReply health() const;
  HttpReply metrics(size_t connections) const;
  HttpReply completions(const std::string& body, const Caller& caller);
  HttpReply chat(const std::string& body, const Caller& caller);
  HttpReply counted(const std::string& path, const std::function<HttpReply()>& answer);

  struct Prompt {
    std::vector<int64_t> ids;
    std::optional<std::string> echo;
  };
  HttpReply answer(const AnswerOptions& options, std::vector<Prompt> prompts, bool chat,
                   const Caller& caller);
  Prompt prompt_of(const AskedPrompt& asked, bool echo) const;
  GenerationConfig generation_of(const AnswerOptions& options) const;

  const LoadedModel& base_;
  const ServedModels& models_;
  ServingEngine& engine_;
  SamplingConfig defaults_;
  std::chrono::seconds answering_time_;
  TextBound bound_;
  int64_t started_;
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, int64_t> replies_;  // by path and status
  double seconds_ = 0;                                      // of whole answers
};

}  // namespace leash::cli

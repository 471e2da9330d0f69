// What is asked of a serving engine, and how the answers come back while others are computed.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "rollout/engine.h"

namespace leash {

struct LikelyToken {
  int64_t token = 0;
  double logprob = 0;  // nats
};

// A token and what the model thought of it: nats at temperature 1, over the whole vocabulary.
struct ScoredToken {
  int64_t token = 0;
  double logprob = 0;            // 0 where scores were not asked for
  std::vector<LikelyToken> top;  // the likeliest tokens, likeliest first
};

// One answer to one prompt.
struct ServingRequest {
  std::vector<int64_t> ids;
  const Adapter* adapter = nullptr;  // nullptr: the base alone; outlives the engine
  // max_new_tokens 0: nothing is drawn. max_batch, record_steps and step are not looked at.
  GenerationConfig generation;
  uint64_t sample = 0;         // with the seed the key of its draws
  bool prompt_scores = false;  // of every token of the prompt after the first
  bool token_scores = false;   // of every token of the answer
  int64_t num_top = 0;         // how many of the likeliest tokens come with each score
};

struct ServingEvent {
  size_t request = 0;                // which one of the ticket's
  std::vector<ScoredToken> prompt;   // some tokens of the prompt, in order
  std::optional<ScoredToken> token;  // of the answer, in order
  std::optional<StopReason> stop;    // it is complete; nothing follows
  std::string text;                  // then: as Completion::text
};

// Requests that were given together. The engine adds, one other thread takes.
class ServingTicket {
 public:
  explicit ServingTicket(size_t requests) : open_(requests) {}

  // What has come since the last call; waits up to `timeout` for something. Throws what ended a
  // request early.
  std::vector<ServingEvent> wait(std::chrono::milliseconds timeout);
  // Everything has come, and was taken.
  bool done() const;
  // Nobody takes any more: its slots go to others.
  void cancel();
  bool cancelled() const;

  void add(ServingEvent event);
  void fail(std::exception_ptr error);

 private:
  mutable std::mutex mutex_;
  std::condition_variable news_;
  std::vector<ServingEvent> events_;
  std::exception_ptr error_;
  size_t open_;  // requests that are not complete
  bool cancelled_ = false;
};

}  // namespace leash

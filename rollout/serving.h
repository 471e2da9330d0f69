// Continuous batching: requests come at any time and join those that decode; each gets the answer
// that it would get alone (equal draws, logits up to rounding). Rows of the base and of different
// adapters share every product with the base's weights.
#pragma once

#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/tokenizer/tokenizer.h"
#include "rollout/serving_batch.h"
#include "rollout/serving_ticket.h"

namespace leash {

class ServingEngine {
 public:
  // Its worker computes with as many threads as the caller does. `tokenizer` may be absent:
  // answers then carry no text, and stop texts are an error.
  ServingEngine(std::shared_ptr<const Decoder> decoder, std::optional<Tokenizer> tokenizer,
                const ServingConfig& config);
  // What is not complete fails.
  ~ServingEngine();
  ServingEngine(const ServingEngine&) = delete;
  ServingEngine& operator=(const ServingEngine&) = delete;

  // Any thread may ask. nullptr where the queue has no room for all of them. FormatError, naming
  // the request, where ids are none, not in the vocabulary, or leave no room for the answer's first
  // token in the context.
  std::shared_ptr<ServingTicket> submit(std::vector<ServingRequest> requests);

  const ServingConfig& config() const { return config_; }
  const ServingCounts& counts() const { return counts_; }

 private:
  void check(const ServingRequest& request, size_t index) const;
  void work(int threads);
  bool next_step();

  std::shared_ptr<const Decoder> decoder_;
  std::optional<Tokenizer> tokenizer_;
  ServingConfig config_;
  ServingCounts counts_;
  ServingBatch batch_;  // the worker's
  std::mutex mutex_;
  std::condition_variable wake_;
  std::list<std::unique_ptr<ServingSequence>> waiting_;
  bool stopping_ = false;
  std::jthread thread_;  // last: it uses the others
};

}  // namespace leash

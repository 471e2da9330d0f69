// The sequences that a serving engine decodes together: who has a slot, and what a step computes.
// One thread uses it.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/tokenizer/tokenizer.h"
#include "rollout/serving_ticket.h"
#include "rollout/slot_memory.h"
#include "rollout/stopping.h"

namespace leash {

struct ServingConfig {
  int64_t max_batch = 32;        // sequences that decode together
  int64_t max_waiting = 256;     // sequences that wait for a slot
  int64_t context = 2048;        // tokens of a prompt and its answer (at most the model's)
  int64_t prefill_tokens = 256;  // of prompts, read between two decoding steps
};

// What it did so far, for whoever watches.
struct ServingCounts {
  std::atomic<int64_t> waiting = 0, active = 0;
  std::atomic<int64_t> prompt_tokens = 0, reused_tokens = 0, generated_tokens = 0, steps = 0;
};

// A request on its way.
struct ServingSequence {
  ServingSequence(ServingRequest given, size_t index, std::shared_ptr<ServingTicket> ticket,
                  const Tokenizer* tokenizer, int64_t context);

  // Tokens whose rows are needed, and those that are still to be read.
  int64_t rows_needed() const;
  int64_t pending() const { return rows_needed() - read; }
  // The rows of these may come from another sequence; prompts that are scored read all of theirs.
  std::span<const int64_t> reusable() const;

  ServingRequest request;
  size_t index;  // in the ticket
  std::shared_ptr<ServingTicket> ticket;
  std::vector<int64_t> ids;     // prompt and answer
  std::vector<int64_t> ending;  // tokens that end it
  StopCheck stop;
  int64_t context;
  int64_t slot = -1;
  int64_t read = 0;  // rows in the cache
  bool finished = false;
};

class ServingBatch {
 public:
  ServingBatch(const Decoder& decoder, const Tokenizer* tokenizer, const ServingConfig& config,
               ServingCounts& counts);

  // Takes what finds a slot from `waiting`, in order. One whose prompt begins like another's that
  // is being read waits until its rows can be copied.
  void admit(std::list<std::unique_ptr<ServingSequence>>& waiting);
  // A token for each sequence whose prompt was read, then at most prefill_tokens of the others',
  // divided evenly between them.
  void step();
  bool empty() const { return active_.empty(); }
  // Ends all with this error.
  void fail(const std::exception_ptr& error);

 private:
  using Sequences = std::vector<ServingSequence*>;
  struct Part {
    ServingSequence* sequence = nullptr;
    int64_t rows = 0;
  };
  bool waits_for_rows(const ServingSequence& sequence) const;
  std::vector<Part> prefill_parts() const;
  void pass(std::vector<Part> parts);
  void score_prompt(ServingSequence& sequence, int64_t first, const at::Tensor& hidden);
  void draw(const Sequences& sequences, const at::Tensor& hidden, const AdapterRows& adapters);
  void add(ServingSequence& sequence, ScoredToken token);
  void retire();

  const Decoder& decoder_;
  const Tokenizer* tokenizer_;
  ServingConfig config_;
  ServingCounts& counts_;
  SlotMemory memory_;
  std::vector<std::unique_ptr<ServingSequence>> active_;
};

}  // namespace leash

// A request and its answers, whole or as a stream of events.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "experiments/cli/serve/answer_json.h"
#include "experiments/cli/serve/http_server.h"
#include "rollout/serving_ticket.h"

namespace leash::cli {

class Exchange {
 public:
  struct Asked {
    bool chat = false;
    std::string model;  // as the client called it
    std::optional<int64_t> logprobs;
    bool include_usage = false;
    int64_t prompt_tokens = 0;
    std::vector<ServedAnswer> answers;
  };
  Exchange(const Tokenizer& tokenizer, Asked asked, std::shared_ptr<ServingTicket> ticket,
           std::chrono::seconds time);
  // Nobody waits any more: what is not complete leaves its slot.
  ~Exchange() { ticket_->cancel(); }

  // Waits for everything. Nothing where the caller has gone, and no answer is read by anybody.
  HttpReply whole(const Caller& caller);
  // HttpReply::NextPiece of a stream.
  std::optional<std::string> next_event();

 private:
  bool late() const { return std::chrono::steady_clock::now() > deadline_; }
  OrderedJson envelope(const char* object) const;
  OrderedJson usage() const;
  std::string events_of(std::vector<ServingEvent> events);
  std::string event(const OrderedJson& choice) const;
  std::string opening() const;
  std::string ending() const;

  AnswerJson json_;
  Asked asked_;
  std::shared_ptr<ServingTicket> ticket_;
  std::chrono::steady_clock::time_point deadline_;
  std::string id_;
  int64_t created_;
  std::vector<int64_t> offsets_;
  bool opened_ = false, ended_ = false;
};

// What a failed request is told.
HttpReply failure_of(std::exception_ptr error);

}  // namespace leash::cli

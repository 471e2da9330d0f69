// An answer, or a piece of it, as OpenAI's clients read it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "experiments/cli/answer_pieces.h"
#include "models/tokenizer/tokenizer.h"
#include "rollout/serving_ticket.h"

namespace leash::cli {

using OrderedJson = nlohmann::ordered_json;

// What can be told of an answer, since the last time or from the start.
struct AnswerPart {
  std::string text;
  std::vector<ScoredToken> tokens;  // NaN: a token without a log-prob, the first of a prompt
  std::optional<StopReason> stop;
};

// One answer on its way from the engine's events.
class ServedAnswer {
 public:
  // `echo`: the prompt's text, which stands in front; `first`: its first token then.
  ServedAnswer(const Tokenizer& tokenizer, const GenerationConfig& config,
               std::optional<std::string> echo, std::optional<int64_t> first);
  // Everything that came behind what was told before. Scores of a prompt wait for what follows.
  AnswerPart take(ServingEvent event);
  int64_t num_drawn() const { return num_drawn_; }

 private:
  AnswerPieces pieces_;
  std::string echo_;                 // not yet told
  std::vector<ScoredToken> prompt_;  // likewise
  int64_t num_drawn_ = 0;
};

class AnswerJson {
 public:
  AnswerJson(const Tokenizer& tokenizer, std::optional<int64_t> logprobs)
      : tokenizer_(tokenizer), logprobs_(logprobs) {}

  // A choice of /v1/completions, whole or streamed. `offset`: characters before its tokens, which
  // it moves.
  OrderedJson completion(int64_t index, const AnswerPart& part, int64_t& offset) const;
  OrderedJson message(int64_t index, const AnswerPart& part) const;  // of /v1/chat/completions
  OrderedJson delta(int64_t index, const AnswerPart& part) const;    // of its streams

 private:
  std::string token_text(int64_t token) const;
  OrderedJson completion_logprobs(const std::vector<ScoredToken>& tokens, int64_t& offset) const;
  OrderedJson chat_logprobs(const std::vector<ScoredToken>& tokens) const;
  OrderedJson chat_token(int64_t token, double logprob) const;

  const Tokenizer& tokenizer_;
  std::optional<int64_t> logprobs_;
};

// Valid UTF-8, whatever is in it.
std::string json_text(const OrderedJson& value);

}  // namespace leash::cli

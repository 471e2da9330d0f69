// Bodies of /v1/completions and /v1/chat/completions, read strictly: a parameter that would change
// the answer and is not understood is an error that names it.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "models/tokenizer/chat_template.h"
#include "rollout/engine.h"

namespace leash::cli {

// A request that cannot be answered, with HTTP's status and the parameter that is to blame.
class RequestError : public std::runtime_error {
 public:
  explicit RequestError(const std::string& message, std::string of = "", int with = 400)
      : std::runtime_error(message), parameter(std::move(of)), status(with) {}
  std::string parameter;
  int status;
};

inline constexpr int64_t kMostAnswers = 128;  // prompts times n
inline constexpr int64_t kMostTop = 20;       // likeliest tokens beside each

// What both have.
struct AnswerOptions {
  std::string model;  // empty: the base
  SamplingConfig sampling;
  std::optional<int64_t> max_tokens;
  std::vector<std::string> stop_texts;
  std::optional<uint64_t> seed;
  int64_t n = 1;
  bool ignore_eos = false;
  std::optional<int64_t> logprobs;  // likeliest tokens beside each; nothing: no log-probs
  bool stream = false;
  bool include_usage = false;  // a last event with it
};

struct AskedPrompt {
  std::optional<std::string> text;  // else ids
  std::vector<int64_t> ids;
};

struct CompletionBody {
  AnswerOptions options;
  std::vector<AskedPrompt> prompts;
  bool echo = false;
};

struct ChatBody {
  AnswerOptions options;
  std::vector<ChatMessage> messages;
  ChatOptions chat;
};

// `defaults`: where the body says nothing about sampling. RequestError or FormatError.
CompletionBody parse_completion(std::string_view body, const SamplingConfig& defaults);
ChatBody parse_chat(std::string_view body, const SamplingConfig& defaults);

}  // namespace leash::cli

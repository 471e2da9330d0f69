#include "experiments/cli/serve/answer_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <utility>

#include "models/text/utf8.h"

namespace leash::cli {
namespace {

// JSON has no infinities; OpenAI's word for a token that cannot come.
constexpr double kLeastLogprob = -9999.0;

OrderedJson logprob_json(double logprob) {
  if (std::isnan(logprob)) return nullptr;
  return std::max(logprob, kLeastLogprob);
}

OrderedJson finish_reason(const std::optional<StopReason>& stop) {
  if (!stop) return nullptr;
  const bool cut = *stop == StopReason::length || *stop == StopReason::context;
  return cut ? "length" : "stop";
}

int64_t characters(std::string_view text) {
  return std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; });
}

}  // namespace

ServedAnswer::ServedAnswer(const Tokenizer& tokenizer, const GenerationConfig& config,
                           std::optional<std::string> echo, std::optional<int64_t> first)
    : pieces_(tokenizer, config.eos_token_ids, config.stop_texts),
      echo_(std::move(echo).value_or("")) {
  if (first) prompt_.push_back({.token = *first, .logprob = std::nan(""), .top = {}});
}

AnswerPart ServedAnswer::take(ServingEvent event) {
  std::ranges::move(event.prompt, std::back_inserter(prompt_));
  if (!event.token && !event.stop) return {};
  AnswerPart part{
      .text = std::exchange(echo_, ""), .tokens = std::exchange(prompt_, {}), .stop = event.stop};
  if (event.token) {
    ++num_drawn_;
    part.text += pieces_.push(event.token->token);
    part.tokens.push_back(std::move(*event.token));
  }
  if (event.stop) part.text += pieces_.finish(event.text);
  return part;
}

// A token that is a part of a character stands as its bytes, so that each has a name of its own.
std::string AnswerJson::token_text(int64_t token) const {
  const std::string bytes = tokenizer_.token_bytes(token);
  if (is_valid_utf8(bytes)) return bytes;
  std::string text = "bytes:";
  for (const char c : bytes) text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return text;
}

OrderedJson AnswerJson::completion_logprobs(const std::vector<ScoredToken>& tokens,
                                            int64_t& offset) const {
  if (!logprobs_) return nullptr;
  OrderedJson names = OrderedJson::array(), scores = names, tops = names, offsets = names;
  for (const ScoredToken& token : tokens) {
    names.push_back(token_text(token.token));
    scores.push_back(logprob_json(token.logprob));
    offsets.push_back(offset);
    offset += characters(tokenizer_.token_bytes(token.token));
    if (std::isnan(token.logprob) || *logprobs_ == 0) {
      tops.push_back(nullptr);
      continue;
    }
    OrderedJson top = OrderedJson::object();  // the likelier of two with one name
    for (const LikelyToken& likely : token.top) {
      const std::string name = token_text(likely.token);
      if (!top.contains(name)) top[name] = logprob_json(likely.logprob);
    }
    if (!top.contains(names.back())) {
      top[names.back().get<std::string>()] = logprob_json(token.logprob);
    }
    tops.push_back(std::move(top));
  }
  return {{"tokens", names},
          {"token_logprobs", scores},
          {"top_logprobs", *logprobs_ == 0 ? OrderedJson() : tops},
          {"text_offset", offsets}};
}

OrderedJson AnswerJson::completion(int64_t index, const AnswerPart& part, int64_t& offset) const {
  return {{"index", index},
          {"text", part.text},
          {"logprobs", completion_logprobs(part.tokens, offset)},
          {"finish_reason", finish_reason(part.stop)}};
}

OrderedJson AnswerJson::chat_token(int64_t token, double logprob) const {
  OrderedJson bytes = OrderedJson::array();
  for (const char c : tokenizer_.token_bytes(token)) {
    bytes.push_back(static_cast<int>(static_cast<unsigned char>(c)));
  }
  return {{"token", token_text(token)}, {"logprob", logprob_json(logprob)}, {"bytes", bytes}};
}

OrderedJson AnswerJson::chat_logprobs(const std::vector<ScoredToken>& tokens) const {
  if (!logprobs_) return nullptr;
  OrderedJson content = OrderedJson::array();
  for (const ScoredToken& token : tokens) {
    content.push_back(chat_token(token.token, token.logprob));
    content.back()["top_logprobs"] = OrderedJson::array();
    for (const LikelyToken& likely : token.top) {
      content.back()["top_logprobs"].push_back(chat_token(likely.token, likely.logprob));
    }
  }
  return {{"content", content}, {"refusal", nullptr}};
}

OrderedJson AnswerJson::message(int64_t index, const AnswerPart& part) const {
  return {{"index", index},
          {"message", {{"role", "assistant"}, {"content", part.text}, {"refusal", nullptr}}},
          {"logprobs", chat_logprobs(part.tokens)},
          {"finish_reason", finish_reason(part.stop)}};
}

OrderedJson AnswerJson::delta(int64_t index, const AnswerPart& part) const {
  OrderedJson delta = OrderedJson::object();
  if (!part.text.empty()) delta["content"] = part.text;
  return {{"index", index},
          {"delta", delta},
          {"logprobs", part.tokens.empty() ? OrderedJson() : chat_logprobs(part.tokens)},
          {"finish_reason", finish_reason(part.stop)}};
}

std::string json_text(const OrderedJson& value) {
  return value.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

}  // namespace leash::cli

// The order of the checks is the order of StopReason.
#include "rollout/stopping.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <utility>

namespace leash {
namespace {

bool contains(const std::vector<int64_t>& ids, int64_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

bool is_special_text(const Tokenizer& tokenizer, int64_t token, const std::string& text) {
  return tokenizer.token_id(text) == token && tokenizer.is_special(token);
}

}  // namespace

StopTextFinder::StopTextFinder(std::vector<std::string> stop_texts)
    : stop_texts_(std::move(stop_texts)) {
  for (const std::string& text : stop_texts_) TORCH_CHECK(!text.empty(), "a stop text is empty");
}

bool StopTextFinder::push(std::string_view piece, bool may_stop) {
  const size_t before = text_.size();
  text_ += piece;
  if (!may_stop) return false;
  size_t first = std::string::npos;
  for (const std::string& stop : stop_texts_) {
    const size_t overlap = std::min(before, stop.size() - 1);  // a match ends in the new piece
    first = std::min(first, text_.find(stop, before - overlap));
  }
  if (first == std::string::npos) return false;
  text_.resize(first);
  return true;
}

StopCheck::StopCheck(const GenerationConfig& config, const Tokenizer* tokenizer, int64_t room)
    : config_(&config), tokenizer_(tokenizer), room_(room), finder_(config.stop_texts) {
  TORCH_CHECK(tokenizer != nullptr || config.stop_texts.empty(), "stop texts need a tokenizer");
  if (tokenizer != nullptr) stream_.emplace(*tokenizer, /*skip_special=*/true);
}

std::optional<StopReason> StopCheck::ends_as_token(int64_t token) const {
  if (contains(config_->eos_token_ids, token)) return StopReason::eos;
  if (contains(config_->stop_token_ids, token)) return StopReason::stop_token;
  for (const std::string& text : config_->stop_texts) {
    if (is_special_text(*tokenizer_, token, text)) return StopReason::stop_text;
  }
  return std::nullopt;
}

std::optional<StopReason> StopCheck::push(int64_t token) {
  ++num_tokens_;
  if (const auto reason = ends_as_token(token)) return reason;
  if (stream_ && finder_.push(stream_->push(token), num_tokens_ >= config_->min_new_tokens)) {
    stream_.reset();
    return StopReason::stop_text;
  }
  if (num_tokens_ >= config_->max_new_tokens) return StopReason::length;
  if (num_tokens_ >= room_) return StopReason::context;
  return std::nullopt;
}

std::string StopCheck::finish() {
  return stream_ ? finder_.text() + stream_->finish() : finder_.text();
}

std::vector<int64_t> ending_tokens(const GenerationConfig& config, const Tokenizer* tokenizer) {
  std::vector<int64_t> tokens = config.eos_token_ids;
  tokens.insert(tokens.end(), config.stop_token_ids.begin(), config.stop_token_ids.end());
  for (const std::string& text : config.stop_texts) {
    if (tokenizer == nullptr) break;
    const std::optional<int64_t> id = tokenizer->token_id(text);
    if (id && tokenizer->is_special(*id)) tokens.push_back(*id);
  }
  return tokens;
}

std::vector<int64_t> eos_token_ids(const DecoderConfig& config, const Tokenizer& tokenizer) {
  std::vector<int64_t> ids = config.eos_token_ids;
  const auto named = tokenizer.eos_token_id();
  if (named && std::ranges::find(ids, *named) == ids.end()) ids.push_back(*named);
  return ids;
}

}  // namespace leash

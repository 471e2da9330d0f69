// One record of preferences after the other. Internal to rl/data (preferences.h is what others
// read).
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "models/tokenizer/chat_template.h"
#include "models/tokenizer/tokenizer.h"
#include "rl/data/answer_encoder.h"
#include "rl/data/preferences.h"

namespace leash {

// How many characters two texts that differ begin with alike, less a space that then ends the
// prompt; of a text that begins the other one, all but its last character. In bytes.
size_t shared_characters(const std::string& a, const std::string& b);

// Reads pairs and counts what happens to them.
class PairReader {
 public:
  // All outlive it. `context` bounds max_length.
  PairReader(const Tokenizer& tokenizer, const PreferenceDataConfig& config, int64_t context,
             PairUse use);

  void read(const nlohmann::ordered_json& json, int64_t line);
  PreferenceData take() { return std::move(data_); }

 private:
  using Json = nlohmann::ordered_json;

  void take(PreferencePair pair);
  PreferencePair pair_of(const Json& json);
  PreferencePair texts(const Json* prompt, const std::string& chosen, const std::string& rejected);
  PreferencePair chats(const Json* prompt, std::vector<ChatMessage> chosen,
                       std::vector<ChatMessage> rejected, const ChatOptions& options);
  void find_answers(PreferencePair& pair, const std::vector<int64_t>& prompt);
  // False when the pair is dropped.
  bool fit(PreferencePair& pair);
  void cut(std::vector<int64_t>& ids, int64_t& answer_begin);

  const Tokenizer& tokenizer_;
  const PreferenceDataConfig& config_;
  AnswerEncoder encoder_;
  PairUse use_;
  int64_t max_length_;
  PreferenceData data_;
};

}  // namespace leash

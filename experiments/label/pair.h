// A prompt with two answers that people compare, and the files that hold such pairs.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace leash::label {

using Json = nlohmann::ordered_json;

struct LabelAnswer {
  Json content;      // a text, or a list of messages where the prompt is one
  Json source = {};  // where it comes from (docs/feedback.md); null where answers were given
};

// The two answers stand in an order of their own (that of their JSON), which is neither the order
// in which they were given nor the one in which they are shown: whoever judges the same prompt with
// the same answers judges the same pair.
struct LabelPair {
  std::string id;  // 16 hexadecimal digits, a hash of prompt and answers
  Json prompt;     // a text, or a list of messages
  std::array<LabelAnswer, 2> answers;
  Json options = {};    // `tools` and `chat_template_kwargs` of a conversation; null: none
  int64_t sample = -1;  // place of its prompt in the order of sampling; -1: it was given
};

// FNV-1a, 64 bits: names need no secrecy.
uint64_t text_hash(std::string_view text, uint64_t before = 0xcbf29ce484222325);

// Puts the answers into their order and names the pair.
LabelPair label_pair(Json prompt, LabelAnswer a, LabelAnswer b, Json options, int64_t sample);

// What a person reads of an answer or a prompt: a text as it is, of messages their contents. With
// `roles` each message begins with a line that says who speaks.
std::string shown_text(const Json& content, bool roles = false);

// A line of pairs.jsonl, and back. FormatError says what is wrong with it.
Json pair_json(const LabelPair& pair);
LabelPair pair_of(const Json& json);

// Pairs that a person brings: lines with `prompt` (a text or a list of messages) and `answers` (at
// least two of the same kind, every two of which make a pair) or, as preference data has it,
// `chosen` and `rejected`, whose order is forgotten. `tools` and `chat_template_kwargs` are kept.
// Equal answers make no pair, and a pair that stands there twice is one. FormatError lists bad
// lines as `file:line: …`; a file without a pair is one as well.
struct GivenPairs {
  std::vector<LabelPair> pairs;
  int64_t equal = 0;     // pairs of equal answers, left out
  int64_t repeated = 0;  // pairs that stood there before, left out
};
GivenPairs read_given_pairs(const std::filesystem::path& file);

}  // namespace leash::label

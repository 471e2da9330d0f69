// Numbers that a reward program or an endpoint sends back.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace leash {

// What a line (an answer of a request) can need, and a margin: no reply is longer.
inline constexpr size_t kBytesPerReply = 512;
inline constexpr size_t kMoreReplyBytes = 64 << 10;
constexpr size_t longest_reply(size_t answers) {
  return kMoreReplyBytes + kBytesPerReply * answers;
}

// A line: one finite decimal number alone, or {"score": number}, with "index" where that is to be
// checked (it has to be `index`) and anything else; {"error": text} is the program's own complaint.
// std::runtime_error says what was printed instead.
double parse_score(std::string_view line, size_t index);

// What a program printed that was started for one batch: `count` such lines.
std::vector<double> parse_scores(std::string_view output, size_t count);

// The body of an endpoint's reply: {"scores": [number, …]} (other keys are passed over), or the
// list alone; `count` finite numbers.
std::vector<double> parse_score_list(std::string_view body, size_t count);

}  // namespace leash

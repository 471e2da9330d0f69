// Tokens by spelling and by id. Ids may have large gaps, which take four bytes each.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace leash {

// More than any vocabulary has; a file that claims more is damaged.
inline constexpr int64_t kMaxVocabulary = int64_t{1} << 22;

struct VocabularyToken {
  std::string spelling;  // as in the file
  int64_t id = 0;
  bool special = false;  // left out of text when decoding with skip_special
  // What the decoder is given in the spelling's place; empty: the spelling itself.
  std::string decoded;
};

class Vocabulary {
 public:
  Vocabulary() = default;
  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;

  // FormatError for a spelling or an id that is there, an empty spelling, an id out of range.
  void add(std::string spelling, int64_t id);

  const VocabularyToken* find(int64_t id) const;  // null where no token has it
  VocabularyToken* find(int64_t id);
  std::optional<int64_t> id(std::string_view spelling) const;
  // The largest id, plus one.
  int64_t size() const { return static_cast<int64_t>(slots_.size()); }
  // In the order in which they came.
  const std::deque<VocabularyToken>& tokens() const { return tokens_; }

 private:
  std::deque<VocabularyToken> tokens_;                     // they never move
  std::unordered_map<std::string_view, int64_t> spelled_;  // views of the tokens' spellings
  std::vector<int32_t> slots_;                             // by id: index of the token, or -1
};

}  // namespace leash

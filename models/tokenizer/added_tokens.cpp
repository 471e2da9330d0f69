// A trie over the tokens' bytes, and the rules about white space and words around them.
#include "models/tokenizer/added_tokens.h"

#include <algorithm>
#include <utility>

#include "models/text/char_classes.h"

namespace leash {

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  starts_.fill(false);
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const std::string& content = tokens_[i].content;
    if (content.empty()) continue;
    starts_[static_cast<uint8_t>(content[0])] = true;
    uint64_t node = 0;
    for (const char c : content) {
      const auto [edge, added] = edges_.try_emplace(node << 8 | static_cast<uint8_t>(c),
                                                    static_cast<uint32_t>(ends_.size()));
      if (added) ends_.push_back(-1);
      node = edge->second;
    }
    ends_[node] = static_cast<int64_t>(i);
  }
}

bool AddedTokenMatcher::has_special() const {
  return std::ranges::any_of(tokens_, [](const AddedToken& token) { return token.special; });
}

AddedTokenMatcher::Found AddedTokenMatcher::find(std::string_view text, size_t from,
                                                 std::span<const ByteRange> plain) const {
  const auto stays_text = [&](const AddedToken& token, size_t begin, size_t end) {
    return token.special && std::ranges::any_of(plain, [&](const ByteRange& range) {
             return range.overlaps(begin, end);
           });
  };
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!starts_[static_cast<uint8_t>(text[begin])]) continue;
    Found longest;
    uint64_t node = 0;
    for (size_t i = begin; i < text.size(); ++i) {
      const auto edge = edges_.find(node << 8 | static_cast<uint8_t>(text[i]));
      if (edge == edges_.end()) break;
      node = edge->second;
      if (ends_[node] < 0) continue;
      const AddedToken& token = tokens_[ends_[node]];
      if (!stays_text(token, begin, i + 1)) longest = {begin, i + 1, &token};
    }
    if (longest.token != nullptr) return longest;
  }
  return {};
}

std::vector<AddedTokenMatcher::Part> AddedTokenMatcher::split(
    std::string_view text, std::span<const ByteRange> plain) const {
  std::vector<Part> parts;
  size_t done = 0;  // everything before it is in `parts`
  size_t from = 0;
  size_t spaces_end = 0;  // of the white space behind a token that was looked through last
  while (true) {
    const Found found = find(text, from, plain);
    if (found.token == nullptr) break;
    from = found.end;
    const std::string_view before = text.substr(0, found.begin);
    const std::string_view behind = text.substr(found.end);
    if (found.token->single_word && (ends_with_word(before) || starts_with_word(behind))) continue;
    size_t begin = found.begin;
    size_t end = found.end;
    // Only what was not looked at yet: white space may itself be full of tokens.
    if (found.token->lstrip) {
      begin = begin > done ? begin - trailing_white_space(text.substr(done, begin - done)) : done;
    }
    if (found.token->rstrip) {
      if (end >= spaces_end) spaces_end = end + leading_white_space(behind);
      end = spaces_end;
    }
    if (end < begin) continue;  // it lies in white space that another token took
    if (begin > done) parts.push_back({text.substr(done, begin - done)});
    parts.push_back({text.substr(begin, end - begin), found.token});
    done = end;
  }
  if (done < text.size()) parts.push_back({text.substr(done)});
  return parts;
}

}  // namespace leash

// Vocabulary and added tokens to the tables that encoding and decoding use.
#include "models/tokenizer/tokenizer_parts.h"

#include <fmt/core.h>

#include <utility>

#include "models/errors.h"
#include "models/tokenizer/bpe.h"
#include "models/tokenizer/utf8.h"

namespace leash {

void set_tokens(TokenizerParts& parts, const std::vector<std::string>& vocabulary,
                std::vector<AddedToken> added) {
  parts.tokens.resize(vocabulary.size());
  parts.ids.reserve(vocabulary.size());
  for (size_t id = 0; id < vocabulary.size(); ++id) {
    const std::string& spelling = vocabulary[id];
    if (spelling.empty()) continue;
    if (!parts.ids.emplace(spelling, static_cast<int64_t>(id)).second) {
      throw FormatError(
          fmt::format("the token '{}' stands twice in the vocabulary, with ids {} "
                      "and {}",
                      spelling, parts.ids.find(spelling)->second, id));
    }
    parts.tokens[id] = {spelling, spelled_bytes(spelling).value_or(spelling), false};
  }
  std::vector<AddedToken> raw, normalized;
  for (AddedToken& token : added) {
    TokenEntry& entry = parts.tokens.at(static_cast<size_t>(token.id));
    entry.bytes = token.content;  // added tokens are text, not spelled bytes
    entry.special = token.special;
    if (token.normalized && parts.nfc) token.content = normalize_nfc(token.content);
    (token.normalized ? normalized : raw).push_back(std::move(token));
  }
  parts.raw_matcher = AddedTokenMatcher(std::move(raw));
  parts.normalized_matcher = AddedTokenMatcher(std::move(normalized));
}

}  // namespace leash

#include "models/tokenizer/tokenizer_parts.h"

#include <fmt/core.h>

#include <utility>

#include "models/errors.h"

namespace leash {

void set_added_tokens(TokenizerParts& parts, std::vector<AddedToken> added) {
  std::vector<AddedToken> raw, normalized;
  for (AddedToken& token : added) {
    VocabularyToken* there = parts.vocabulary.find(token.id);
    if (there == nullptr) {
      parts.vocabulary.add(token.content, token.id);
      there = parts.vocabulary.find(token.id);
    } else if (there->spelling != token.content) {
      throw FormatError(fmt::format("the added token '{}' has the id {} of '{}'", token.content,
                                    token.id, there->spelling));
    }
    there->special = token.special;
    if (token.normalized) {
      token.content = parts.normalizer(std::move(token.content));
      there->decoded = token.content;  // as Hugging Face does since 0.23
    }
    (token.normalized ? normalized : raw).push_back(std::move(token));
  }
  parts.raw_matcher = AddedTokenMatcher(std::move(raw));
  parts.normalized_matcher = AddedTokenMatcher(std::move(normalized));
}

int64_t known_id(const TokenizerParts& parts, int64_t id, const std::string& what) {
  if (parts.vocabulary.find(id) != nullptr) return id;
  throw FormatError(fmt::format("{} is {}, an id that no token has", what, id));
}

}  // namespace leash

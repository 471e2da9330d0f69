#include "models/subwords/word_piece.h"

#include <fmt/core.h>

#include <utility>

#include "models/errors.h"
#include "models/text/utf8.h"

namespace leash {
namespace {

TokenTrie trie_of(const Vocabulary& vocabulary, std::string_view prefix) {
  std::vector<TokenTrie::Entry> entries;
  for (const VocabularyToken& token : vocabulary.tokens()) {
    std::string_view spelling = token.spelling;
    if (spelling.size() <= prefix.size() || !spelling.starts_with(prefix)) continue;
    spelling.remove_prefix(prefix.size());
    entries.push_back({spelling, static_cast<int32_t>(token.id)});
  }
  return TokenTrie(std::move(entries));
}

bool has_more_characters(std::string_view word, size_t most) {
  if (word.size() <= most) return false;
  size_t count = 0;
  for_each_char(word, [&](char32_t, std::string_view) { ++count; });
  return count > most;
}

}  // namespace

WordPiece::WordPiece(const Vocabulary& vocabulary, const WordPieceOptions& options)
    : first_(trie_of(vocabulary, "")),
      continuing_(trie_of(vocabulary, options.continuing)),
      unknown_(options.unknown),
      max_characters_(options.max_characters) {}

void WordPiece::encode(std::string_view word, ModelScratch* /*scratch*/,
                       std::vector<int64_t>& ids) const {
  const size_t before = ids.size();
  bool even = !has_more_characters(word, max_characters_);
  for (size_t begin = 0; even && begin < word.size();) {
    const auto match = (begin == 0 ? first_ : continuing_).longest(word.substr(begin));
    even = match.length > 0;
    ids.push_back(match.value);
    begin += match.length;
  }
  if (even) return;
  ids.resize(before);
  ids.push_back(unknown_);
}

WordLevel::WordLevel(const Vocabulary& vocabulary, std::optional<int64_t> unknown)
    : unknown_(unknown) {
  for (const VocabularyToken& token : vocabulary.tokens()) words_.emplace(token.spelling, token.id);
}

void WordLevel::encode(std::string_view word, ModelScratch* /*scratch*/,
                       std::vector<int64_t>& ids) const {
  const auto found = words_.find(std::string(word));
  if (found == words_.end() && !unknown_) {
    throw FormatError(fmt::format("the tokenizer has neither a token for '{}' nor an unknown token",
                                  word.substr(0, 40)));
  }
  ids.push_back(found == words_.end() ? *unknown_ : found->second);
}

}  // namespace leash

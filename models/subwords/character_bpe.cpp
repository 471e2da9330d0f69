#include "models/subwords/character_bpe.h"

#include <utility>

#include "models/text/byte_alphabet.h"
#include "models/text/utf8.h"

namespace leash {

namespace {

bool is_line_breaks(std::string_view text) {
  return text.find_first_not_of('\n') == std::string_view::npos;
}

}  // namespace

struct CharacterBpe::Scratch final : ModelScratch {
  Merges::Symbols symbols;
};

CharacterBpe::CharacterBpe(const Vocabulary& vocabulary, const MergeList& merges,
                           CharacterBpeOptions options)
    : merges_(merges, vocabulary, options.continuing_prefix.size()), options_(std::move(options)) {
  constexpr size_t kLongestCharacter = 4;
  const size_t longest =
      kLongestCharacter + options_.continuing_prefix.size() + options_.word_suffix.size();
  for (const VocabularyToken& token : vocabulary.tokens()) {
    const bool looked_for = options_.ignore_merges || token.spelling.size() <= longest ||
                            (options_.whole_line_breaks && is_line_breaks(token.spelling));
    if (!looked_for) continue;
    tokens_.emplace(token.spelling, static_cast<int32_t>(token.id));
  }
  for (int byte = 0; byte < 256; ++byte) {
    byte_tokens_[byte] = static_cast<int32_t>(
        vocabulary.id(fallback_spelling(static_cast<unsigned char>(byte))).value_or(-1));
  }
}

std::optional<int32_t> CharacterBpe::find(std::string_view spelling) const {
  const auto found = tokens_.find(std::string(spelling));
  if (found == tokens_.end()) return std::nullopt;
  return found->second;
}

// All of them, or none.
bool CharacterBpe::add_bytes(std::string_view spelling, Merges::Symbols& symbols) const {
  for (const char c : spelling) {
    if (byte_tokens_[static_cast<uint8_t>(c)] < 0) return false;
  }
  for (const char c : spelling) symbols.add(byte_tokens_[static_cast<uint8_t>(c)]);
  return true;
}

// An unknown token waits for the next known character or the next unknown one, and so comes behind
// byte tokens that lie between: Hugging Face's order.
void CharacterBpe::Unknown::add() {
  if (!model.options_.unknown) return;
  if (pending && !model.options_.fuse_unknown) {
    symbols.add(static_cast<int32_t>(*model.options_.unknown));
  }
  pending = true;
}

void CharacterBpe::Unknown::flush() {
  if (std::exchange(pending, false)) symbols.add(static_cast<int32_t>(*model.options_.unknown));
}

void CharacterBpe::set_symbols(std::string_view word, Merges::Symbols& symbols) const {
  symbols.clear();
  Unknown unknown{*this, symbols};
  std::string spelling;
  for_each_char(word, [&](char32_t, std::string_view character) {
    const bool first = character.data() == word.data();
    const bool last = character.data() + character.size() == word.data() + word.size();
    spelling = first ? "" : options_.continuing_prefix;
    spelling += character;
    if (last) spelling += options_.word_suffix;
    if (const auto id = find(spelling)) {
      unknown.flush();
      symbols.add(*id);
    } else if (!options_.byte_fallback || !add_bytes(spelling, symbols)) {
      unknown.add();
    }
  });
  unknown.flush();
}

std::unique_ptr<ModelScratch> CharacterBpe::scratch() const { return std::make_unique<Scratch>(); }

void CharacterBpe::encode(std::string_view word, ModelScratch* kept,
                          std::vector<int64_t>& ids) const {
  if (options_.ignore_merges || (options_.whole_line_breaks && is_line_breaks(word))) {
    if (const auto id = find(word)) {
      ids.push_back(*id);
      return;
    }
  }
  auto& symbols = static_cast<Scratch&>(*kept).symbols;
  set_symbols(word, symbols);
  symbols.merge(merges_);
  symbols.append_ids(ids);
}

}  // namespace leash

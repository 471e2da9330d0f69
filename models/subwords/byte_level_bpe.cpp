// Most words of a text are tokens, and most others came before: both are found without merging.
#include "models/subwords/byte_level_bpe.h"

#include "models/text/byte_alphabet.h"

namespace leash {
namespace {

// What is kept of a text's words.
constexpr size_t kMaxWords = 1 << 16;
constexpr size_t kMaxWordBytes = 64;

}  // namespace

struct ByteLevelBpe::Scratch final : ModelScratch {
  struct Found {
    uint32_t begin;
    uint32_t count;
  };
  Merges::Symbols symbols;
  std::unordered_map<std::string, Found, StringHash, std::equal_to<>> words;
  std::vector<int64_t> ids;  // of all words
};

ByteLevelBpe::ByteLevelBpe(const Vocabulary& vocabulary, const MergeList& merges,
                           const ByteLevelBpeOptions& options)
    : merges_(merges, vocabulary, /*dropped=*/0), options_(options) {
  for (int byte = 0; byte < 256; ++byte) {
    byte_tokens_[byte] = static_cast<int32_t>(vocabulary.id(byte_characters()[byte]).value_or(-1));
  }
  set_whole_words(vocabulary, options.ignore_merges);
}

// Words whose merges lead to the token that they are.
void ByteLevelBpe::set_whole_words(const Vocabulary& vocabulary, bool ignore_merges) {
  Merges::Symbols symbols;
  for (const VocabularyToken& token : vocabulary.tokens()) {
    const auto bytes = spelled_bytes(token.spelling);
    if (!bytes || bytes->empty()) continue;
    if (!ignore_merges) {
      set_symbols(*bytes, symbols);
      symbols.merge(merges_);
      if (!symbols.is_only(token.id)) continue;
    }
    whole_words_.emplace(*bytes, static_cast<int32_t>(token.id));
  }
}

void ByteLevelBpe::set_symbols(std::string_view word, Merges::Symbols& symbols) const {
  symbols.clear();
  bool in_unknown = false;
  for (const char c : word) {
    const int32_t id = byte_tokens_[static_cast<uint8_t>(c)];
    if (id >= 0) {
      symbols.add(id);
    } else if (options_.unknown && !(in_unknown && options_.fuse_unknown)) {
      symbols.add(static_cast<int32_t>(*options_.unknown));
    }
    in_unknown = id < 0 && (in_unknown || options_.unknown);
  }
}

std::unique_ptr<ModelScratch> ByteLevelBpe::scratch() const { return std::make_unique<Scratch>(); }

void ByteLevelBpe::encode(std::string_view word, ModelScratch* kept,
                          std::vector<int64_t>& ids) const {
  if (const auto whole = whole_words_.find(word); whole != whole_words_.end()) {
    ids.push_back(whole->second);
    return;
  }
  auto& scratch = static_cast<Scratch&>(*kept);
  if (const auto known = scratch.words.find(word); known != scratch.words.end()) {
    const auto first = scratch.ids.begin() + known->second.begin;
    ids.insert(ids.end(), first, first + known->second.count);
    return;
  }
  set_symbols(word, scratch.symbols);
  scratch.symbols.merge(merges_);
  const size_t before = ids.size();
  scratch.symbols.append_ids(ids);
  if (word.size() > kMaxWordBytes || scratch.words.size() >= kMaxWords) return;
  scratch.words.emplace(word, Scratch::Found{static_cast<uint32_t>(scratch.ids.size()),
                                             static_cast<uint32_t>(ids.size() - before)});
  scratch.ids.insert(scratch.ids.end(), ids.begin() + static_cast<int64_t>(before), ids.end());
}

}  // namespace leash

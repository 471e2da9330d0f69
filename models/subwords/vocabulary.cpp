#include "models/subwords/vocabulary.h"

#include <fmt/core.h>

#include <utility>

#include "models/errors.h"

namespace leash {

void Vocabulary::add(std::string spelling, int64_t id) {
  if (id < 0 || id >= kMaxVocabulary) {
    throw FormatError(fmt::format("'{}' has the id {}, which is no number in 0 … {}", spelling, id,
                                  kMaxVocabulary - 1));
  }
  if (spelling.empty()) throw FormatError(fmt::format("the token with id {} is empty", id));
  if (id >= size()) slots_.resize(static_cast<size_t>(id) + 1, -1);
  int32_t& slot = slots_[static_cast<size_t>(id)];
  if (slot >= 0) {
    throw FormatError(fmt::format("'{}' and '{}' both have the id {}",
                                  tokens_[static_cast<size_t>(slot)].spelling, spelling, id));
  }
  const auto there = spelled_.find(spelling);
  if (there != spelled_.end()) {
    throw FormatError(
        fmt::format("the token '{}' stands twice in the vocabulary, with ids {} and {}", spelling,
                    there->second, id));
  }
  slot = static_cast<int32_t>(tokens_.size());
  tokens_.push_back({std::move(spelling), id});
  spelled_.emplace(tokens_.back().spelling, id);
}

const VocabularyToken* Vocabulary::find(int64_t id) const {
  if (id < 0 || id >= size()) return nullptr;
  const int32_t slot = slots_[static_cast<size_t>(id)];
  return slot < 0 ? nullptr : &tokens_[static_cast<size_t>(slot)];
}

VocabularyToken* Vocabulary::find(int64_t id) {
  return const_cast<VocabularyToken*>(std::as_const(*this).find(id));
}

std::optional<int64_t> Vocabulary::id(std::string_view spelling) const {
  const auto found = spelled_.find(spelling);
  if (found == spelled_.end()) return std::nullopt;
  return found->second;
}

}  // namespace leash

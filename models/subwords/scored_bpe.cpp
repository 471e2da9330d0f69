// The same heap of candidates as ranked merges have, but a merge is any token that two neighbours
// spell.
#include "models/subwords/scored_bpe.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "models/errors.h"
#include "models/text/byte_alphabet.h"
#include "models/text/utf8.h"

namespace leash {

struct ScoredBpe::Scratch final : ModelScratch {
  struct Symbol {
    std::string_view text;  // empty: swallowed by its left neighbour
    int64_t previous, next;
    bool frozen;  // a user-defined token, which merges with nothing
  };
  struct Candidate {
    float score;
    int64_t left;
    size_t size;  // of the two as they were; it is void when they are no longer
    bool operator<(const Candidate& other) const {
      return score != other.score ? score < other.score : left > other.left;
    }
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
  // How an unused token came about: the length of its left part.
  std::unordered_map<std::string_view, size_t> left_parts;
  bool last_unknown = false;
};

ScoredBpe::ScoredBpe(const std::vector<ScoredPiece>& tokens, std::optional<int64_t> unknown,
                     bool byte_fallback)
    : unknown_(unknown), byte_fallback_(byte_fallback) {
  byte_tokens_.fill(-1);
  spellings_.reserve(tokens.size());
  std::vector<TokenTrie::Entry> frozen;
  for (const ScoredPiece& token : tokens) {
    const auto id = static_cast<int32_t>(token.id);
    if (std::isnan(token.score)) {
      throw FormatError(fmt::format("the score of the token '{}' is no number", token.spelling));
    }
    if (token.kind == ScoredPiece::Kind::byte) {
      if (const auto byte = fallback_byte(token.spelling)) byte_tokens_[*byte] = id;
      continue;
    }
    if (token.kind == ScoredPiece::Kind::other) continue;
    if (token.spelling.size() > kMaxTokenBytes) {
      throw FormatError(fmt::format("the token with id {} has {} bytes; at most {} are supported",
                                    id, token.spelling.size(), kMaxTokenBytes));
    }
    spellings_.push_back(token.spelling);
    longest_ = std::max(longest_, token.spelling.size());
    pieces_[spellings_.back()] = {token.score, id, token.kind == ScoredPiece::Kind::unused};
    if (token.kind == ScoredPiece::Kind::user_defined) frozen.push_back({spellings_.back(), id});
  }
  user_defined_ = TokenTrie(std::move(frozen));
}

const ScoredBpe::Piece* ScoredBpe::find(std::string_view spelling) const {
  if (spelling.size() > longest_) return nullptr;
  const auto found = pieces_.find(spelling);
  return found == pieces_.end() ? nullptr : &found->second;
}

void ScoredBpe::set_symbols(std::string_view word, Scratch& scratch) const {
  scratch.symbols.clear();
  while (!word.empty()) {
    const auto match = user_defined_.longest(word);
    const size_t length = match.length > 0 ? match.length : first_char(word).length;
    const auto i = static_cast<int64_t>(scratch.symbols.size());
    scratch.symbols.push_back({word.substr(0, length), i - 1, i + 1, match.length > 0});
    word.remove_prefix(length);
  }
  scratch.symbols.back().next = -1;
}

void ScoredBpe::consider(Scratch& scratch, int64_t left) const {
  if (left < 0 || scratch.symbols[left].next < 0) return;
  const Scratch::Symbol& a = scratch.symbols[left];
  const Scratch::Symbol& b = scratch.symbols[a.next];
  if (a.frozen || b.frozen) return;
  const std::string_view both(a.text.data(), a.text.size() + b.text.size());
  const Piece* piece = find(both);
  if (piece == nullptr) return;
  scratch.heap.push_back({piece->score, left, both.size()});
  if (piece->unused) scratch.left_parts[both] = a.text.size();
}

void ScoredBpe::merge(Scratch& scratch) const {
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  const auto push = [&](int64_t left) {
    const size_t before = heap.size();
    consider(scratch, left);
    if (heap.size() > before) std::push_heap(heap.begin(), heap.end());
  };
  heap.clear();
  scratch.left_parts.clear();
  for (size_t i = 0; i < symbols.size(); ++i) consider(scratch, static_cast<int64_t>(i));
  std::make_heap(heap.begin(), heap.end());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const Scratch::Candidate best = heap.back();
    heap.pop_back();
    Scratch::Symbol& left = symbols[best.left];
    if (left.text.empty() || left.next < 0) continue;
    Scratch::Symbol& right = symbols[left.next];
    if (left.text.size() + right.text.size() != best.size) continue;
    left.text = {left.text.data(), best.size};
    left.next = right.next;
    right.text = {};
    if (left.next >= 0) symbols[left.next].previous = best.left;
    push(left.previous);
    push(best.left);
  }
}

void ScoredBpe::append_unknown(std::string_view piece, std::vector<int64_t>& ids) const {
  if (byte_fallback_) {
    for (const char c : piece) {
      const int32_t id = byte_tokens_[static_cast<uint8_t>(c)];
      if (id < 0) {
        throw FormatError(fmt::format("the vocabulary has no token for the byte 0x{:02X}",
                                      static_cast<uint8_t>(c)));
      }
      ids.push_back(id);
    }
    return;
  }
  if (!unknown_) {
    throw FormatError(
        fmt::format("the tokenizer has neither a token for '{}' nor an unknown token", piece));
  }
  ids.push_back(*unknown_);
}

void ScoredBpe::append(std::string_view piece, const Scratch& scratch,
                       std::vector<int64_t>& ids) const {
  const Piece* found = find(piece);
  if (found == nullptr) return append_unknown(piece, ids);
  const auto parts = found->unused ? scratch.left_parts.find(piece) : scratch.left_parts.end();
  if (parts == scratch.left_parts.end()) {
    ids.push_back(found->id);
    return;
  }
  append(piece.substr(0, parts->second), scratch, ids);
  append(piece.substr(parts->second), scratch, ids);
}

std::unique_ptr<ModelScratch> ScoredBpe::scratch() const { return std::make_unique<Scratch>(); }

void ScoredBpe::encode(std::string_view word, ModelScratch* kept, std::vector<int64_t>& ids) const {
  auto& scratch = static_cast<Scratch&>(*kept);
  set_symbols(word, scratch);
  merge(scratch);
  bool unknown = false;
  for (int64_t i = 0; i >= 0; i = scratch.symbols[i].next) {
    const std::string_view text = scratch.symbols[i].text;
    const bool is_unknown = find(text) == nullptr;
    // A run of unknown characters is one token.
    if (!(is_unknown && unknown && !byte_fallback_)) append(text, scratch, ids);
    unknown = is_unknown;
  }
}

}  // namespace leash

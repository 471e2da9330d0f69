// Merging by a heap of candidates, so that a word of n bytes takes O(n log n).
#include "models/tokenizer/bpe.h"

#include <fmt/core.h>

#include <algorithm>
#include <deque>

#include "models/errors.h"

namespace leash {
namespace {

// Bytes that text of every script needs. SmolLM2's own vocabulary lacks some control characters and
// lead bytes of unassigned planes, which is why this is not all of them.
bool is_ordinary(int byte) {
  return byte == '\t' || byte == '\n' || byte == '\r' || (byte >= 0x20 && byte <= 0x7E) ||
         (byte >= 0x80 && byte <= 0xBF) || (byte >= 0xC2 && byte <= 0xF0);
}

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

// The word as a linked list of symbols, and the merges that may come next. Kept between words.
struct ByteLevelBpe::Scratch {
  struct Symbol {
    int32_t id;  // -1: swallowed by its left neighbour
    int64_t previous;
    int64_t next;
  };
  struct Candidate {
    Merge merge;
    int64_t left;
    int32_t left_id, right_id;  // as they were; it is void when they are no longer
    // The heap has the best at its top: lowest rank, then leftmost.
    bool operator<(const Candidate& other) const {
      return merge.rank != other.merge.rank ? merge.rank > other.merge.rank : left > other.left;
    }
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
};

ByteLevelBpe::ByteLevelBpe(BpeSource source)
    : fuse_unknown_(source.fuse_unknown), pre_tokenizer_(std::move(source.pre_tokenizer)) {
  WordMap spelled;
  spelled.reserve(source.vocabulary.size());
  for (size_t id = 0; id < source.vocabulary.size(); ++id) {
    if (!source.vocabulary[id].empty()) {
      spelled.emplace(source.vocabulary[id], static_cast<int32_t>(id));
    }
  }
  if (source.unknown_token) {
    const auto found = spelled.find(*source.unknown_token);
    if (found == spelled.end()) {
      throw FormatError(
          fmt::format("the unknown token '{}' is not in the vocabulary", *source.unknown_token));
    }
    unknown_ = found->second;
  }
  set_byte_tokens(spelled);
  set_merges(source, spelled);
  set_whole_words(source);
}

void ByteLevelBpe::set_byte_tokens(const WordMap& spelled) {
  for (int byte = 0; byte < 256; ++byte) {
    const auto found = spelled.find(byte_characters()[byte]);
    byte_tokens_[byte] = found == spelled.end() ? -1 : found->second;
    if (byte_tokens_[byte] < 0 && unknown_ < 0 && is_ordinary(byte)) {
      throw FormatError(fmt::format(
          "the vocabulary has no token for the byte 0x{:02X}: it is not one of a byte-level BPE",
          byte));
    }
  }
}

void ByteLevelBpe::set_merges(const BpeSource& source, const WordMap& spelled) {
  merges_.reserve(source.merges.size());
  const auto id_of = [&](const std::string& token, size_t rank) {
    const auto found = spelled.find(token);
    if (found == spelled.end()) {
      throw FormatError(
          fmt::format("merge {} ('{}' and '{}') names '{}', which is not in the "
                      "vocabulary",
                      rank, source.merges[rank].first, source.merges[rank].second, token));
    }
    return found->second;
  };
  for (size_t rank = 0; rank < source.merges.size(); ++rank) {
    const auto& [left, right] = source.merges[rank];
    const uint64_t key = pair_key(id_of(left, rank), id_of(right, rank));
    const Merge merge{static_cast<int32_t>(rank), id_of(left + right, rank)};
    if (!merges_.emplace(key, merge).second) {
      throw FormatError(fmt::format("merge {} ('{}' and '{}') stands twice", rank, left, right));
    }
  }
}

// Most words of a text are tokens. Those whose merges lead to that token are found without merging.
void ByteLevelBpe::set_whole_words(const BpeSource& source) {
  Scratch scratch;
  std::vector<int64_t> ids;
  for (size_t id = 0; id < source.vocabulary.size(); ++id) {
    const auto bytes = spelled_bytes(source.vocabulary[id]);
    if (!bytes || bytes->empty()) continue;
    ids.clear();
    if (!source.ignore_merges) encode_word(*bytes, scratch, ids);
    const bool whole = ids.size() == 1 && ids[0] == static_cast<int64_t>(id);
    if (source.ignore_merges || whole) whole_words_.emplace(*bytes, static_cast<int32_t>(id));
  }
}

const ByteLevelBpe::Merge* ByteLevelBpe::find_merge(int32_t left, int32_t right) const {
  const auto found = merges_.find(pair_key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

void ByteLevelBpe::start_symbols(std::string_view word, Scratch& scratch) const {
  scratch.symbols.clear();
  bool in_unknown = false;
  for (const char c : word) {
    int32_t id = byte_tokens_[static_cast<uint8_t>(c)];
    const bool known = id >= 0;
    if (!known) {
      if (unknown_ < 0 || (in_unknown && fuse_unknown_)) continue;
      id = unknown_;
    }
    in_unknown = !known;
    const auto i = static_cast<int64_t>(scratch.symbols.size());
    scratch.symbols.push_back({id, i - 1, i + 1});
  }
  if (!scratch.symbols.empty()) scratch.symbols.back().next = -1;
}

void ByteLevelBpe::merge_symbols(Scratch& scratch) const {
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  heap.clear();
  const auto consider = [&](int64_t left) {
    if (left < 0 || symbols[left].next < 0) return false;
    const int32_t left_id = symbols[left].id;
    const int32_t right_id = symbols[symbols[left].next].id;
    const Merge* merge = find_merge(left_id, right_id);
    if (merge == nullptr) return false;
    heap.push_back({*merge, left, left_id, right_id});
    return true;
  };
  for (size_t i = 0; i < symbols.size(); ++i) consider(static_cast<int64_t>(i));
  std::make_heap(heap.begin(), heap.end());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const Scratch::Candidate best = heap.back();
    heap.pop_back();
    auto& left = symbols[best.left];
    if (left.id != best.left_id || left.next < 0) continue;
    auto& right = symbols[left.next];
    if (right.id != best.right_id) continue;
    left.id = best.merge.result;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) symbols[left.next].previous = best.left;
    if (consider(left.previous)) std::push_heap(heap.begin(), heap.end());
    if (consider(best.left)) std::push_heap(heap.begin(), heap.end());
  }
}

void ByteLevelBpe::encode_word(std::string_view word, Scratch& scratch,
                               std::vector<int64_t>& ids) const {
  if (const auto whole = whole_words_.find(word); whole != whole_words_.end()) {
    ids.push_back(whole->second);
    return;
  }
  start_symbols(word, scratch);
  merge_symbols(scratch);
  for (int64_t i = scratch.symbols.empty() ? -1 : 0; i >= 0; i = scratch.symbols[i].next) {
    ids.push_back(scratch.symbols[i].id);
  }
}

void ByteLevelBpe::encode(std::string_view text, std::vector<int64_t>& ids) const {
  Scratch scratch;
  std::deque<std::string> storage;
  for (const std::string_view word : pre_tokenizer_.split(text, storage)) {
    encode_word(word, scratch, ids);
  }
}

}  // namespace leash

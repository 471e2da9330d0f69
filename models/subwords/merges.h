// Byte-pair encoding's merges: which pairs of tokens become one, and in which order.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "models/subwords/vocabulary.h"

namespace leash {

// Spellings of left and right, best first.
using MergeList = std::vector<std::pair<std::string, std::string>>;

class Merges {
 public:
  // `dropped` bytes at the front of a right side are left out of the merged spelling (a
  // continuing_subword_prefix). FormatError when a merge names an unknown token or stands twice.
  Merges(const MergeList& merges, const Vocabulary& vocabulary, size_t dropped);

  struct Merge {
    int32_t rank = -1;  // -1: there is none
    int32_t result = 0;
  };
  Merge find(int32_t left, int32_t right) const {
    const uint64_t key = key_of(left, right);
    for (uint64_t i = slot_of(key);; i = (i + 1) & mask_) {
      if (slots_[i].key == key) return slots_[i].merge;
      if (slots_[i].key == kEmpty) return {};
    }
  }

  // A word's symbols, to be merged in place.
  class Symbols {
   public:
    void clear() { symbols_.clear(); }
    void add(int32_t id) { symbols_.push_back({id, 0, 0}); }
    // Merges the best pair, leftmost first, until none is left: O(n log n).
    void merge(const Merges& merges);
    // Of what is left.
    void append_ids(std::vector<int64_t>& ids) const;
    bool is_only(int64_t id) const;

   private:
    struct Symbol {
      int32_t id;  // -1: swallowed by its left neighbour
      int32_t previous;
      int32_t next;
    };
    struct Candidate {
      uint64_t order;             // rank << 32 | left, so that the lowest is the next
      int32_t left_id, right_id;  // as they were; it is void when they are no longer
      int32_t result;
    };
    void consider(const Merges& merges, int32_t left);
    void merge_few(const Merges& merges);
    void merge_many(const Merges& merges);
    void link();

    std::vector<Symbol> symbols_;
    std::vector<Candidate> heap_;
  };

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  struct Slot {
    uint64_t key = kEmpty;
    Merge merge;
  };
  static uint64_t key_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  uint64_t slot_of(uint64_t key) const {
    key = (key ^ key >> 32) * 0x9E3779B97F4A7C15;
    return (key ^ key >> 29) * 0xBF58476D1CE4E5B9 >> shift_;
  }
  bool insert(uint64_t key, Merge merge);

  std::vector<Slot> slots_;  // open addressing, half empty
  uint64_t mask_ = 0;
  int shift_ = 0;
};

}  // namespace leash

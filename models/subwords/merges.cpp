// A table of pairs, and a heap of candidates for long words.
#include "models/subwords/merges.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <functional>

#include "models/errors.h"

namespace leash {
namespace {

// Words up to here are looked through for the best pair each time, which is faster than a heap.
constexpr size_t kFew = 24;

}  // namespace

Merges::Merges(const MergeList& merges, const Vocabulary& vocabulary, size_t dropped) {
  const int bits = std::max(4, static_cast<int>(std::bit_width(merges.size() * 2)));
  slots_.resize(size_t{1} << bits);
  mask_ = slots_.size() - 1;
  shift_ = 64 - bits;
  const auto id_of = [&](const std::string& token, size_t rank) {
    if (const auto id = vocabulary.id(token)) return static_cast<int32_t>(*id);
    throw FormatError(
        fmt::format("merge {} ('{}' and '{}') names '{}', which is not in the vocabulary", rank,
                    merges[rank].first, merges[rank].second, token));
  };
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    const uint64_t key = key_of(id_of(left, rank), id_of(right, rank));
    const std::string merged = left + right.substr(std::min(dropped, right.size()));
    if (!insert(key, {static_cast<int32_t>(rank), id_of(merged, rank)})) {
      throw FormatError(fmt::format("merge {} ('{}' and '{}') stands twice", rank, left, right));
    }
  }
}

bool Merges::insert(uint64_t key, Merge merge) {
  for (uint64_t i = slot_of(key);; i = (i + 1) & mask_) {
    if (slots_[i].key == key) return false;
    if (slots_[i].key != kEmpty) continue;
    slots_[i] = {key, merge};
    return true;
  }
}

void Merges::Symbols::link() {
  const auto count = static_cast<int32_t>(symbols_.size());
  for (int32_t i = 0; i < count; ++i) {
    symbols_[i].previous = i - 1;
    symbols_[i].next = i + 1 < count ? i + 1 : -1;
  }
}

void Merges::Symbols::merge(const Merges& merges) {
  if (symbols_.size() > INT32_MAX) throw FormatError("a word of more than 2 GiB");
  if (symbols_.size() <= kFew) {
    merge_few(merges);
    return;
  }
  link();
  merge_many(merges);
}

void Merges::Symbols::merge_few(const Merges& merges) {
  Merge found[kFew];  // of each symbol with the one behind it
  size_t count = symbols_.size();
  const auto look_up = [&](size_t i) {
    found[i] = i + 1 < count ? merges.find(symbols_[i].id, symbols_[i + 1].id) : Merge{};
  };
  for (size_t i = 0; i < count; ++i) look_up(i);
  while (true) {
    size_t best = count;
    for (size_t i = 0; i + 1 < count; ++i) {
      if (found[i].rank < 0) continue;
      if (best == count || found[i].rank < found[best].rank) best = i;
    }
    if (best == count) break;
    symbols_[best].id = found[best].result;
    --count;
    for (size_t i = best + 1; i < count; ++i) {
      symbols_[i].id = symbols_[i + 1].id;
      found[i] = found[i + 1];
    }
    look_up(best);
    if (best > 0) look_up(best - 1);
  }
  symbols_.resize(count);
}

void Merges::Symbols::consider(const Merges& merges, int32_t left) {
  if (left < 0 || symbols_[left].next < 0) return;
  const int32_t left_id = symbols_[left].id;
  const int32_t right_id = symbols_[symbols_[left].next].id;
  const Merge merge = merges.find(left_id, right_id);
  if (merge.rank < 0) return;
  heap_.push_back({static_cast<uint64_t>(merge.rank) << 32 | static_cast<uint32_t>(left), left_id,
                   right_id, merge.result});
}

void Merges::Symbols::merge_many(const Merges& merges) {
  const auto later = [](const Candidate& a, const Candidate& b) { return a.order > b.order; };
  const auto push = [&](int32_t left) {
    const size_t before = heap_.size();
    consider(merges, left);
    if (heap_.size() > before) std::push_heap(heap_.begin(), heap_.end(), later);
  };
  heap_.clear();
  for (size_t i = 0; i < symbols_.size(); ++i) consider(merges, static_cast<int32_t>(i));
  std::make_heap(heap_.begin(), heap_.end(), later);
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end(), later);
    const Candidate best = heap_.back();
    heap_.pop_back();
    const auto at = static_cast<int32_t>(best.order & 0xFFFFFFFF);
    Symbol& left = symbols_[at];
    if (left.id != best.left_id || left.next < 0) continue;
    Symbol& right = symbols_[left.next];
    if (right.id != best.right_id) continue;
    left.id = best.result;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) symbols_[left.next].previous = at;
    push(left.previous);
    push(at);
  }
  std::erase_if(symbols_, [](const Symbol& symbol) { return symbol.id < 0; });
}

void Merges::Symbols::append_ids(std::vector<int64_t>& ids) const {
  for (const Symbol& symbol : symbols_) ids.push_back(symbol.id);
}

bool Merges::Symbols::is_only(int64_t id) const {
  return symbols_.size() == 1 && symbols_[0].id == id;
}

}  // namespace leash

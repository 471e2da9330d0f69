#include "rollout/slot_memory.h"

#include <algorithm>

#include "models/decoder/packed_texts.h"

namespace leash {
namespace {

constexpr int64_t kFirstRows = 128;  // of a slot before anybody needs more

}  // namespace

SlotMemory::SlotMemory(const Decoder& decoder, int64_t num_slots, int64_t context)
    : context_(context),
      cache_(decoder.config(), num_slots, std::min(context, kFirstRows), decoder.dtype(),
             decoder.device()),
      slots_(static_cast<size_t>(num_slots)) {
  for (int64_t i = 0; i < num_slots; ++i) cache_.acquire();  // who has which is kept here
}

SlotMemory::Donor SlotMemory::best_donor(std::span<const int64_t> ids,
                                         const Adapter* adapter) const {
  Donor best;
  for (size_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    if (slot.adapter != adapter) continue;
    const auto [end, unused] = std::ranges::mismatch(slot.ids, ids);
    const int64_t rows = end - slot.ids.begin();
    if (rows >= kLeastSharedTokens && rows > best.rows) {
      best = {.slot = static_cast<int64_t>(i), .rows = rows};
    }
  }
  return best;
}

std::optional<int64_t> SlotMemory::oldest_free(int64_t avoided) const {
  std::optional<int64_t> oldest;
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].taken || static_cast<int64_t>(i) == avoided) continue;
    if (!oldest || slots_[i].used < slots_[static_cast<size_t>(*oldest)].used) {
      oldest = static_cast<int64_t>(i);
    }
  }
  return oldest;
}

void SlotMemory::reserve(int64_t rows) {
  TORCH_CHECK(rows <= context_, rows, " rows do not fit a context of ", context_);
  int64_t capacity = cache_.capacity();
  while (capacity < rows) capacity = std::min(2 * capacity, context_);
  if (capacity > cache_.capacity()) cache_.widen(capacity);
}

std::optional<SlotMemory::Place> SlotMemory::acquire(std::span<const int64_t> reusable,
                                                     const Adapter* adapter, int64_t rows) {
  if (!any_free()) return std::nullopt;
  reserve(rows);
  const Donor donor = best_donor(reusable, adapter);
  // The donor keeps what it holds where another slot is free.
  const std::optional<int64_t> other = oldest_free(donor.slot);
  const int64_t chosen = other.value_or(donor.slot);
  Slot& slot = slots_[static_cast<size_t>(chosen)];
  if (chosen != donor.slot) {
    cache_.truncate(chosen, 0);
    if (donor.rows > 0) cache_.copy_prefix(donor.slot, chosen, donor.rows);
  } else {
    cache_.truncate(chosen, donor.rows);
  }
  slot.ids.assign(reusable.begin(), reusable.begin() + donor.rows);
  slot.adapter = adapter;
  slot.taken = true;
  slot.used = ++calls_;
  return Place{.slot = chosen, .reused = donor.rows};
}

void SlotMemory::release(int64_t slot) { slots_[static_cast<size_t>(slot)].taken = false; }

void SlotMemory::append(int64_t slot, std::span<const int64_t> ids) {
  auto& held = slots_[static_cast<size_t>(slot)].ids;
  held.insert(held.end(), ids.begin(), ids.end());
}

bool SlotMemory::any_free() const {
  return std::ranges::any_of(slots_, [](const Slot& slot) { return !slot.taken; });
}

}  // namespace leash

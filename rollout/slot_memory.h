// The slots of a serving engine's cache, and which tokens' rows they hold. They are remembered when
// a sequence leaves: one that begins like it takes its rows over.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "models/decoder/decoder.h"
#include "rollout/kv_cache.h"

namespace leash {

class SlotMemory {
 public:
  // At most `context` rows a slot. Memory is taken as sequences need it.
  SlotMemory(const Decoder& decoder, int64_t num_slots, int64_t context);

  struct Place {
    int64_t slot = 0;
    int64_t reused = 0;  // first tokens whose rows are there
  };
  // A free slot with room for `rows` rows, if there is one. `reusable`: the tokens whose rows may
  // be taken over from a slot that read them through the same adapter.
  std::optional<Place> acquire(std::span<const int64_t> reusable, const Adapter* adapter,
                               int64_t rows);
  void release(int64_t slot);
  // The slot's next rows, of these tokens, are in the cache.
  void append(int64_t slot, std::span<const int64_t> ids);

  bool any_free() const;
  KvCache& cache() { return cache_; }

 private:
  struct Slot {
    bool taken = false;
    const Adapter* adapter = nullptr;
    std::vector<int64_t> ids;
    uint64_t used = 0;  // when, in calls of acquire
  };
  struct Donor {
    int64_t slot = -1;
    int64_t rows = 0;
  };
  Donor best_donor(std::span<const int64_t> ids, const Adapter* adapter) const;
  std::optional<int64_t> oldest_free(int64_t avoided) const;
  void reserve(int64_t rows);

  int64_t context_;
  KvCache cache_;
  std::vector<Slot> slots_;
  uint64_t calls_ = 0;
};

}  // namespace leash

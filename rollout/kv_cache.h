// Keys and values of all sequences that decode together, in memory that is allocated once.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "models/attention/attention_cache.h"
#include "models/families/decoder_config.h"

namespace leash {

// CachedLayer's `visible` of sequences that hold `past` (int64, on any device) rows: each sees
// those and its next one. Rows are padded in memory, as LibTorch's fused attention wants them.
at::Tensor visible_positions(const at::Tensor& past, int64_t seen, at::ScalarType dtype);

// A slot holds one sequence of at most `capacity` rows. For one forward: select() the slots of the
// packed sequences, let the decoder append() layer by layer, then commit() the new rows.
class KvCache final : public AttentionCache {
 public:
  KvCache(const DecoderConfig& config, int64_t num_slots, int64_t capacity,
          at::ScalarType dtype = at::kFloat, at::Device device = at::kCPU);

  // The lowest free slot, empty; nullopt when all are taken.
  std::optional<int64_t> acquire();
  void release(int64_t slot);
  // Gives slot `to` the first `rows` rows of slot `from`: answers to one prompt share its prefill.
  void copy_prefix(int64_t from, int64_t to, int64_t rows);
  // The slot holds its first `rows` rows alone.
  void truncate(int64_t slot, int64_t rows);
  // Room for `capacity` rows (no fewer than before) in every slot, which keeps what it holds.
  void widen(int64_t capacity);

  void select(std::vector<int64_t> slots);
  CachedLayer append(int64_t layer, const at::Tensor& keys, const at::Tensor& values,
                     const std::vector<int64_t>& lengths) override;
  // Makes the rows of the last forward part of what the selected slots hold.
  void commit(const std::vector<int64_t>& lengths);

  // For steps of one shape whatever is in use, on a device that is not the CPU: a forward of one
  // row for each of the first slots, in order. `past` (int64 [slots], there) says where the rows
  // go: behind what a slot holds. A row that nobody asked for stays there until it is overwritten.
  // `visible` is as in CachedLayer, from visible_positions.
  void select_first(const at::Tensor& past, const at::Tensor& visible);
  // Ends that forward: nothing was added.
  void deselect();
  // The slots hold one row more each.
  void grow(const std::vector<int64_t>& slots);
  // Rows behind what a slot holds start here; 0 for a free one.
  int64_t filled(int64_t slot) const { return slots_[static_cast<size_t>(slot)].length; }

  int64_t length(int64_t slot) const;
  int64_t num_slots() const { return static_cast<int64_t>(slots_.size()); }
  int64_t capacity() const { return capacity_; }
  int64_t bytes() const;

 private:
  struct Slot {
    bool taken = false;
    int64_t length = 0;
  };
  struct Layer {
    at::Tensor keys;    // [slots, kv_heads, capacity, head_dim]
    at::Tensor values;  // [slots, kv_heads, capacity, head_dim]
  };
  Slot& taken_slot(int64_t slot);
  void check_new_rows(const at::Tensor& rows, const std::vector<int64_t>& lengths) const;
  void index_on_device();
  void write(const at::Tensor& into, const at::Tensor& rows, const std::vector<int64_t>& lengths);

  int64_t capacity_;
  std::vector<Slot> slots_;
  std::vector<Layer> layers_;
  std::vector<int64_t> selected_;
  std::vector<int64_t> past_;  // of the selected slots
  bool first_ = false;         // select_first
  // On a device: slots and past of the selected ones (int64), and CachedLayer's `visible`.
  at::Tensor slot_index_, past_index_, visible_;
};

}  // namespace leash

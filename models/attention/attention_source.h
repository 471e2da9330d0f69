// What the passes of fused attention read, and how they are split among threads. Internal to
// models/attention/fused_attention*.cpp.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <numeric>
#include <vector>

#include "models/attention/attention_tiles.h"
#include "models/attention/fused_attention.h"

namespace leash {

// The fused projection and the angles of its rows.
struct AttentionSource {
  AttentionSource(const at::Tensor& qkv, const at::Tensor& positions_, const RopeTable& table,
                  const HeadShape& shape, const AttentionRule& rule)
      : rows(qkv.const_data_ptr<float>()),
        stride(qkv.stride(0)),
        heads(shape.num_heads),
        kv_heads(shape.num_kv_heads),
        head_dim(shape.head_dim),
        half(table.rotates() ? table.cosines.size(1) : 0),
        window(rule.window),
        scale(static_cast<float>(rule.scale_for(shape.head_dim))),
        softcap(static_cast<float>(rule.softcap)),
        slopes(rule.slopes.defined() ? rule.slopes.const_data_ptr<float>() : nullptr),
        positions(positions_.const_data_ptr<int64_t>()),
        cosines(half > 0 ? table.cosines.const_data_ptr<float>() : nullptr),
        sines(half > 0 ? table.sines.const_data_ptr<float>() : nullptr) {
    TORCH_CHECK(slopes == nullptr || (rule.slopes.is_contiguous() && rule.slopes.numel() == heads),
                "attention: slopes are [", heads, "], not ", rule.slopes.sizes());
  }

  const float* query(int64_t row, int64_t head) const {
    return rows + row * stride + head * head_dim;
  }
  const float* key(int64_t row, int64_t head) const { return query(row, heads + head); }
  const float* value(int64_t row, int64_t head) const {
    return query(row, heads + kv_heads + head);
  }
  const float* cosines_of(int64_t row) const { return cosines + positions[row] * half; }
  const float* sines_of(int64_t row) const { return sines + positions[row] * half; }

  const float* rows;
  int64_t stride;
  // How scores of a head change, if they do.
  bool changes() const { return softcap > 0 || slopes != nullptr; }
  attention_tiles::ScoreChange change(int64_t head) const {
    return {.softcap = softcap, .slope = slopes == nullptr ? 0.0f : slopes[head]};
  }

  int64_t heads, kv_heads, head_dim, half, window;
  float scale, softcap;
  const float* slopes;
  const int64_t* positions;
  const float* cosines;
  const float* sines;
};

// Keys [row, row + count) of a head, rotated. The rows to come, up to `end`, are fetched with their
// values.
LEASH_INLINE void rotate_keys(const AttentionSource& s, int64_t kv_head, int64_t row, int64_t count,
                              int64_t end, float* keys) {
  using namespace attention_tiles;  // NOLINT: internal to these files
  for (int64_t r = row; r < row + count; ++r, keys += s.head_dim) {
    if (r + kAhead < end) {
      fetch(s.key(r + kAhead, kv_head), s.head_dim);
      fetch(s.value(r + kAhead, kv_head), s.head_dim);
    }
    rotate(s.key(r, kv_head), s.cosines_of(r), s.sines_of(r), 1.0f, 1.0f, s.half, s.head_dim, keys);
  }
}

// The first keys that a row of a sequence sees: of the prefix (all its rows: none of them), and of
// the sequence itself.
struct FirstKeys {
  int64_t prefix = 0, own = 0;
};
inline FirstKeys first_keys(const SequenceRows& place, int64_t row, int64_t window) {
  if (window == 0) return {};
  const int64_t first = std::max<int64_t>(place.prefix_rows + row - window + 1, 0);
  return {.prefix = std::min(first, place.prefix_rows),
          .own = std::max<int64_t>(first - place.prefix_rows, 0)};
}

// Rows [begin, end) of a sequence for the query heads of one key head.
struct AttentionUnit {
  SequenceRows place;
  int64_t kv_head = 0;
  int64_t begin = 0, end = 0;
  int64_t window = 0;
  // Scores that it computes, for one query head.
  int64_t cost() const {
    const int64_t seen =
        (end - begin) * place.prefix_rows + (end * (end + 1) - begin * (begin + 1)) / 2;
    if (window == 0) return seen;
    // Row i leaves place.prefix_rows + i + 1 - window of them out.
    const int64_t from = std::clamp(window - place.prefix_rows, begin, end);
    const int64_t first = place.prefix_rows + from + 1 - window;
    return seen - (end - from) * first - (end - from) * (end - from - 1) / 2;
  }
};

// A sequence's rows in `parts` of about the same cost: the first rows of each, and the end. Whole
// groups of `step` rows, where rows suffice.
inline std::vector<int64_t> split_rows(const SequenceRows& place, int64_t window, int64_t parts,
                                       int64_t step) {
  const auto cost = [&](int64_t end) {
    return AttentionUnit{.place = place, .begin = 0, .end = end, .window = window}.cost();
  };
  std::vector<int64_t> begins = {0};
  for (int64_t row = step; row < place.rows; row += step) {
    if (cost(row) * parts >= cost(place.rows) * static_cast<int64_t>(begins.size()))
      begins.push_back(row);
  }
  begins.push_back(place.rows);
  return begins;
}

// Calls work(unit, memory) for all units, the longest first, each thread with `scratch` numbers of
// its own.
template <class Unit, class Work>
void for_each_unit(const std::vector<Unit>& units, int64_t scratch, const Work& work) {
  constexpr int64_t kLine = 16;  // numbers of a cache line
  std::vector<size_t> order(units.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::ranges::greater{},
                           [&](size_t i) { return units[i].cost(); });
  const auto threads = std::min<int64_t>(at::get_num_threads(), static_cast<int64_t>(units.size()));
  const at::Tensor memory =
      at::empty({threads, (scratch + kLine - 1) / kLine * kLine}, at::TensorOptions(at::kFloat));
  float* const numbers = memory.mutable_data_ptr<float>();
  std::atomic<size_t> next = 0;
  at::parallel_for(0, threads, /*grain_size=*/1, [&](int64_t begin, int64_t /*end*/) {
    for (size_t i = next++; i < order.size(); i = next++)
      work(units[order[i]], numbers + begin * memory.size(1));
  });
}

}  // namespace leash

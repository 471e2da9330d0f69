// Writing is a copy of raw rows on a CPU (a call of the tensor library for each of 30 layers, 16
// sequences, keys and values would cost more than attention), and tensor operations elsewhere: one
// for all sequences where each has one row.
#include "rollout/kv_cache.h"

#include <ATen/core/List.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_put.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "models/device/device.h"

namespace leash {
namespace {

constexpr int64_t kMaskAlignment = 16;  // numbers in a row of a mask for LibTorch's fused attention

// rows [length, kv_heads, head_dim] -> slot [kv_heads, capacity, head_dim] from `past` on.
struct RowCopy {
  char* slot;
  const char* rows;
  int64_t kv_heads, capacity, past, length;
  int64_t head_bytes;                 // head_dim · element size
  int64_t token_stride, head_stride;  // of `rows`, in bytes

  void operator()() const {
    for (int64_t head = 0; head < kv_heads; ++head) {
      char* target = slot + (head * capacity + past) * head_bytes;
      const char* source = rows + head * head_stride;
      for (int64_t row = 0; row < length; ++row) {
        std::memcpy(target + row * head_bytes, source + row * token_stride,
                    static_cast<size_t>(head_bytes));
      }
    }
  }
};

}  // namespace

KvCache::KvCache(const DecoderConfig& config, int64_t num_slots, int64_t capacity,
                 at::ScalarType dtype, at::Device device)
    : capacity_(capacity) {
  TORCH_CHECK(num_slots > 0 && capacity > 0, "a cache needs slots and rows, not ", num_slots,
              " and ", capacity);
  slots_.resize(static_cast<size_t>(num_slots));
  // Zeros, so that no operation ever meets a NaN of stale memory; untouched pages cost nothing.
  const std::vector<int64_t> shape = {num_slots, config.num_kv_heads, capacity, config.head_dim};
  const auto options = at::TensorOptions().dtype(dtype).device(device);
  for (int64_t i = 0; i < config.num_layers; ++i) {
    layers_.push_back({at::zeros(shape, options), at::zeros(shape, options)});
  }
}

std::optional<int64_t> KvCache::acquire() {
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].taken) continue;
    slots_[i] = {.taken = true, .length = 0};
    return static_cast<int64_t>(i);
  }
  return std::nullopt;
}

KvCache::Slot& KvCache::taken_slot(int64_t slot) {
  TORCH_CHECK(slot >= 0 && slot < num_slots() && slots_[static_cast<size_t>(slot)].taken, "slot ",
              slot, " of the cache is not in use");
  return slots_[static_cast<size_t>(slot)];
}

void KvCache::release(int64_t slot) { taken_slot(slot) = {}; }

int64_t KvCache::length(int64_t slot) const {
  return const_cast<KvCache*>(this)->taken_slot(slot).length;
}

void KvCache::copy_prefix(int64_t from, int64_t to, int64_t rows) {
  TORCH_CHECK(from != to && rows >= 0 && rows <= taken_slot(from).length, "slot ", from,
              " cannot give ", rows, " rows to slot ", to);
  taken_slot(to).length = rows;
  for (const Layer& layer : layers_) {
    for (const at::Tensor& cache : {layer.keys, layer.values}) {
      cache.select(0, to).narrow(1, 0, rows).copy_(cache.select(0, from).narrow(1, 0, rows));
    }
  }
}

void KvCache::truncate(int64_t slot, int64_t rows) {
  TORCH_CHECK(rows >= 0 && rows <= taken_slot(slot).length, "slot ", slot, " does not hold ", rows,
              " rows");
  taken_slot(slot).length = rows;
}

void KvCache::widen(int64_t capacity) {
  TORCH_CHECK(capacity >= capacity_, "a cache of ", capacity_, " rows does not shrink to ",
              capacity);
  int64_t held = 0;
  for (const Slot& slot : slots_) held = std::max(held, slot.length);
  // Aside, so that a lack of memory changes nothing.
  std::vector<Layer> wider;
  for (const Layer& layer : layers_) {
    std::vector<int64_t> shape = layer.keys.sizes().vec();
    shape[2] = capacity;
    wider.push_back(
        {at::zeros(shape, layer.keys.options()), at::zeros(shape, layer.keys.options())});
    wider.back().keys.narrow(2, 0, held).copy_(layer.keys.narrow(2, 0, held));
    wider.back().values.narrow(2, 0, held).copy_(layer.values.narrow(2, 0, held));
  }
  layers_ = std::move(wider);
  capacity_ = capacity;
}

void KvCache::select(std::vector<int64_t> slots) {
  past_.clear();
  for (const int64_t slot : slots) past_.push_back(taken_slot(slot).length);
  selected_ = std::move(slots);
  if (!layers_.front().keys.is_cpu() && !selected_.empty()) index_on_device();
}

at::Tensor visible_positions(const at::Tensor& past, int64_t seen, at::ScalarType dtype) {
  constexpr double kUnseen = -std::numeric_limits<double>::infinity();
  const int64_t padded = (seen + kMaskAlignment - 1) / kMaskAlignment * kMaskAlignment;
  const at::Tensor sees = at::arange(padded, past.options()).unsqueeze(0).le(past.unsqueeze(1));
  return at::full(sees.sizes(), kUnseen, past.options().dtype(dtype))
      .masked_fill_(sees, 0.0)
      .narrow(1, 0, seen);
}

void KvCache::index_on_device() {
  const at::Tensor& keys = layers_.front().keys;
  const int64_t seen = *std::ranges::max_element(past_) + 1;
  slot_index_ = on_device(at::tensor(selected_, at::kLong), keys.device());
  past_index_ = on_device(at::tensor(past_, at::kLong), keys.device());
  visible_ = visible_positions(past_index_, seen, keys.scalar_type());
}

void KvCache::select_first(const at::Tensor& past, const at::Tensor& visible) {
  const int64_t count = past.size(0);
  TORCH_CHECK(count <= num_slots() && visible.size(0) == count && visible.size(1) <= capacity_,
              "the cache has ", num_slots(), " slots of ", capacity_, " rows, not ",
              visible.sizes());
  selected_.resize(static_cast<size_t>(count));
  std::iota(selected_.begin(), selected_.end(), 0);
  past_.clear();
  for (const int64_t slot : selected_) past_.push_back(filled(slot));
  first_ = true;
  slot_index_ = at::arange(count, past.options());
  past_index_ = past;
  visible_ = visible;
}

void KvCache::deselect() {
  selected_.clear();
  past_.clear();
  first_ = false;
  slot_index_ = past_index_ = visible_ = at::Tensor();
}

void KvCache::grow(const std::vector<int64_t>& slots) {
  for (const int64_t slot : slots) {
    TORCH_CHECK(taken_slot(slot).length < capacity_, "slot ", slot, " is full");
    ++taken_slot(slot).length;
  }
}

void KvCache::check_new_rows(const at::Tensor& rows, const std::vector<int64_t>& lengths) const {
  const at::Tensor& cache = layers_.front().keys;
  int64_t total = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    TORCH_CHECK(lengths[i] >= 0 && lengths[i] <= capacity_ - past_[i], "slot ", selected_[i],
                " holds ", past_[i], " of ", capacity_, " rows: no room for ", lengths[i]);
    total += lengths[i];
  }
  TORCH_CHECK(rows.dim() == 3 && rows.size(0) == total && rows.size(1) == cache.size(1) &&
                  rows.size(2) == cache.size(3) && rows.scalar_type() == cache.scalar_type(),
              "a cache ", cache.toString(), " ", cache.sizes(), " got ", rows.toString(), " ",
              rows.sizes(), " for ", total, " new rows");
}

void KvCache::write(const at::Tensor& into, const at::Tensor& rows,
                    const std::vector<int64_t>& lengths) {
  check_new_rows(rows, lengths);
  const bool raw = into.is_cpu() && rows.is_cpu();
  const auto one_row = [](int64_t length) { return length == 1; };
  if (!raw && slot_index_.defined() && std::ranges::all_of(lengths, one_row)) {
    at::Tensor target = into;
    target.index_put_(
        c10::List<std::optional<at::Tensor>>({slot_index_, std::nullopt, past_index_}), rows);
    return;
  }
  const at::Tensor source = raw && rows.stride(2) != 1 ? rows.contiguous() : rows;
  const int64_t item = into.element_size(), kv_heads = into.size(1);
  int64_t begin = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    if (raw) {
      RowCopy{static_cast<char*>(into.data_ptr()) + selected_[i] * into.stride(0) * item,
              static_cast<const char*>(source.const_data_ptr()) + begin * source.stride(0) * item,
              kv_heads,
              capacity_,
              past_[i],
              lengths[i],
              into.size(3) * item,
              source.stride(0) * item,
              source.stride(1) * item}();
    } else {
      into.select(0, selected_[i])
          .narrow(1, past_[i], lengths[i])
          .copy_(source.narrow(0, begin, lengths[i]).transpose(0, 1));
    }
    begin += lengths[i];
  }
}

CachedLayer KvCache::append(int64_t layer, const at::Tensor& keys, const at::Tensor& values,
                            const std::vector<int64_t>& lengths) {
  TORCH_CHECK(layer >= 0 && layer < static_cast<int64_t>(layers_.size()), "no layer ", layer);
  TORCH_CHECK(lengths.size() == selected_.size(), "the forward has ", lengths.size(),
              " sequences, the cache was told of ", selected_.size());
  const Layer& target = layers_[static_cast<size_t>(layer)];
  write(target.keys, keys, lengths);
  write(target.values, values, lengths);
  CachedLayer result{.keys = target.keys,
                     .values = target.values,
                     .slots = &selected_,
                     .past = &past_,
                     .slot_index = slot_index_,
                     .visible = visible_,
                     .past_index = past_index_};
  if (first_) {
    for (at::Tensor* rows : {&result.keys, &result.values}) {
      *rows = rows->narrow(0, 0, visible_.size(0)).narrow(2, 0, visible_.size(1));
    }
    result.slot_index = at::Tensor();
  }
  return result;
}

void KvCache::commit(const std::vector<int64_t>& lengths) {
  TORCH_CHECK(lengths.size() == selected_.size(), "commit of ", lengths.size(), " sequences, not ",
              selected_.size());
  for (size_t i = 0; i < lengths.size(); ++i) {
    TORCH_CHECK(lengths[i] >= 0 && lengths[i] <= capacity_ - past_[i], "commit past the capacity");
    taken_slot(selected_[i]).length = past_[i] + lengths[i];
  }
  deselect();
}

int64_t KvCache::bytes() const {
  int64_t total = 0;
  for (const Layer& layer : layers_) {
    total += static_cast<int64_t>(layer.keys.nbytes() + layer.values.nbytes());
  }
  return total;
}

}  // namespace leash

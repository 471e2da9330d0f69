// Which part of a file is held out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace leash {

// For each of `total` things (`name`: "samples"), whether it is held out: ⌈part · total⌉ of them,
// drawn by the seed. FormatError where none would be left to train on.
std::vector<bool> draw_held_out(int64_t total, double part, uint64_t seed, const char* name);

// Takes what is held out away from `items`, both in their order.
template <class Item>
std::vector<Item> take_held_out(std::vector<Item>& items, const std::vector<bool>& held) {
  std::vector<Item> taken, kept;
  for (size_t i = 0; i < items.size(); ++i) {
    (held[i] ? taken : kept).push_back(std::move(items[i]));
  }
  items = std::move(kept);
  return taken;
}

}  // namespace leash

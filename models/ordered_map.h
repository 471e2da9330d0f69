// A map that keeps the order in which its keys were written, where the order decides.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace leash {

// A member of this type may stand in a configuration struct (models/fields.h), as std::map may.
template <class T>
class OrderedMap {
 public:
  using Entries = std::vector<std::pair<std::string, T>>;

  OrderedMap() = default;
  OrderedMap(std::initializer_list<std::pair<std::string, T>> entries) : entries_(entries) {}

  // The key must be new.
  void add(std::string key, T value) { entries_.emplace_back(std::move(key), std::move(value)); }
  void clear() { entries_.clear(); }
  size_t size() const { return entries_.size(); }
  const T& at(std::string_view key) const {
    const auto found =
        std::ranges::find_if(entries_, [&](const auto& entry) { return entry.first == key; });
    if (found == entries_.end()) throw std::out_of_range("no key " + std::string(key));
    return found->second;
  }
  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }

  bool operator==(const OrderedMap&) const = default;

 private:
  Entries entries_;
};

}  // namespace leash

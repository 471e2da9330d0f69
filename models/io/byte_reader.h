// Reads little-endian values from untrusted bytes: every length is checked before it is used.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "models/errors.h"

namespace leash {

class ByteReader {
 public:
  ByteReader(std::span<const std::byte> bytes, std::string origin, size_t position = 0)
      : bytes_(bytes), origin_(std::move(origin)), position_(position) {}

  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }

  template <class Number>
  Number number() {
    static_assert(std::is_arithmetic_v<Number> && !std::is_same_v<Number, bool>);
    need(sizeof(Number), "a number");
    Number value;
    std::memcpy(&value, bytes_.data() + position_, sizeof(Number));
    position_ += sizeof(Number);
    return value;
  }

  // A string behind its 8-byte length; the view lives as long as the bytes.
  std::string_view string() {
    const auto length = number<uint64_t>();
    need(length, "a string");
    const auto* text = reinterpret_cast<const char*>(bytes_.data() + position_);
    position_ += length;
    return {text, length};
  }

  void skip(uint64_t length, const char* what) {
    need(length, what);
    position_ += length;
  }

  // Throws FormatError with the file and the current offset.
  [[noreturn]] void fail(const std::string& what) const {
    throw FormatError(fmt::format("{}: at byte {}: {}", origin_, position_, what));
  }

 private:
  void need(uint64_t length, const char* what) const {
    if (length > remaining()) {
      fail(fmt::format("{} of {} bytes does not fit into the {} that are left (truncated file?)",
                       what, length, remaining()));
    }
  }

  std::span<const std::byte> bytes_;
  std::string origin_;
  size_t position_;
};

}  // namespace leash

// Every index into the array is checked, since it comes from a file.
#include "models/text/charsmap.h"

#include <fmt/core.h>
#include <utf8proc.h>

#include "models/errors.h"
#include "models/text/utf8.h"

namespace leash {
namespace {

constexpr size_t kUnitBytes = 4;
constexpr size_t kLongestCluster = 5;  // bytes; longer ones are looked at by character

uint32_t little_endian(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < kUnitBytes; ++i) {
    value |= static_cast<uint32_t>(static_cast<uint8_t>(bytes[i])) << (8 * i);
  }
  return value;
}

// Darts' units: label, whether a value follows, and the distance to the children.
uint32_t label_of(uint32_t unit) { return unit & (1U << 31 | 0xFF); }
bool has_leaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t offset_of(uint32_t unit) { return (unit >> 10) << ((unit & 1U << 9) >> 6); }
uint32_t value_of(uint32_t unit) { return unit & ~(1U << 31); }

// The first grapheme cluster of a text that is not empty.
std::string_view first_cluster(std::string_view text) {
  Utf8Char c = first_char(text);
  size_t end = c.length;
  utf8proc_int32_t state = 0;
  while (end < text.size()) {
    const Utf8Char next = first_char(text.substr(end));
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(c.value),
                                         static_cast<utf8proc_int32_t>(next.value), &state)) {
      break;
    }
    end += next.length;
    c = next;
  }
  return text.substr(0, end);
}

}  // namespace

Charsmap::Charsmap(std::string_view blob) {
  const uint64_t bytes = blob.size() > kUnitBytes ? little_endian(blob) : 0;
  if (bytes == 0 || bytes % kUnitBytes != 0 || bytes >= blob.size() - kUnitBytes + 1) {
    throw FormatError(fmt::format("precompiled_charsmap: {} bytes cannot hold an array of {}",
                                  blob.size(), bytes));
  }
  blob.remove_prefix(kUnitBytes);
  units_.reserve(bytes / kUnitBytes);
  for (uint64_t i = 0; i < bytes; i += kUnitBytes) {
    units_.push_back(little_endian(blob.substr(i, kUnitBytes)));
  }
  replacements_ = blob.substr(bytes);
}

template <class F>
void Charsmap::for_each_prefix(std::string_view text, const F& f) const {
  uint64_t node = offset_of(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    if (byte == 0) return;
    node ^= byte;
    if (node >= units_.size() || label_of(units_[node]) != byte) return;
    const uint32_t unit = units_[node];
    node ^= offset_of(unit);
    if (node >= units_.size()) return;
    if (has_leaf(unit) && !f(i + 1, value_of(units_[node]))) return;
  }
}

std::string_view Charsmap::replacement(uint32_t offset) const {
  const size_t end = replacements_.find('\0', offset);
  if (offset >= replacements_.size() || end == std::string::npos) {
    throw FormatError("precompiled_charsmap: a replacement lies behind its end");
  }
  const std::string_view text = std::string_view(replacements_).substr(offset, end - offset);
  if (!is_valid_utf8(text)) {
    throw FormatError("precompiled_charsmap: a replacement is no valid UTF-8");
  }
  return text;
}

std::optional<Charsmap::Match> Charsmap::shortest(std::string_view text) const {
  std::optional<Match> found;
  for_each_prefix(text, [&](size_t length, uint32_t value) {
    found = {length, replacement(value)};
    return false;
  });
  return found;
}

std::optional<Charsmap::Match> Charsmap::longest(std::string_view text) const {
  size_t longest = 0;
  uint32_t offset = 0;
  for_each_prefix(text, [&](size_t length, uint32_t value) {
    longest = length;
    offset = value;
    return true;
  });
  if (longest == 0) return std::nullopt;
  return Match{longest, replacement(offset)};
}

std::string apply_precompiled(const Charsmap& rules, std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const std::string_view cluster = first_cluster(text);
    text.remove_prefix(cluster.size());
    const auto whole = cluster.size() <= kLongestCluster ? rules.shortest(cluster) : std::nullopt;
    if (whole) {
      result += whole->replacement;
      continue;
    }
    for_each_char(cluster, [&](char32_t, std::string_view character) {
      const auto match = rules.shortest(character);
      result += match ? match->replacement : character;
    });
  }
  return result;
}

}  // namespace leash

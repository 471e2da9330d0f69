// A GGUF's metadata under its architecture's prefix, and which of it was read: what nobody reads
// may change the numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "models/io/gguf.h"

namespace leash {

class GgufMetadata {
 public:
  GgufMetadata(const GgufFile& file, std::string_view architecture);

  const GgufFile& file() const { return file_; }
  // Names are without the prefix. Absent keys give nullopt; a key of another type is a FormatError.
  std::optional<int64_t> integer(std::string_view name) const;
  std::optional<double> number(std::string_view name) const;
  std::optional<std::string> text(std::string_view name) const;
  // An array of numbers, or one number.
  std::optional<std::vector<int64_t>> integers(std::string_view name) const;
  // FormatError when it is missing.
  int64_t required(std::string_view name) const;
  double required_number(std::string_view name) const;

  // FormatError naming a key that was not read and does not merely describe, or has another value
  // than the one with which it changes nothing.
  void refuse_what_was_not_read() const;

 private:
  std::string key(std::string_view name) const;
  [[noreturn]] void missing(std::string_view name) const;

  const GgufFile& file_;
  std::string prefix_;
  mutable std::set<std::string, std::less<>> read_;
};

}  // namespace leash

// Regular expressions of a recipe or of a data file, in PCRE2's syntax.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace leash {

// Compiled once; matching is const and may run in several threads.
class Pattern {
 public:
  // UTF-8, with Unicode's \w, \d and \b. ConfigError says what is not understood and where.
  explicit Pattern(const std::string& pattern);

  // Whether it matches anywhere in `text` (bytes that are no UTF-8 count as U+FFFD), and how many
  // matches there are that do not overlap. std::runtime_error where that takes more steps than an
  // expression should.
  bool found_in(std::string_view text) const;
  int64_t count_in(std::string_view text) const;

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
};

}  // namespace leash

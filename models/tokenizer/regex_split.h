// Regular expressions as Hugging Face's tokenizers mean them, and splitting text at their matches.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace leash {

struct TextSpan {
  size_t begin = 0;
  size_t end = 0;
};

// A compiled expression; matching is const and may run in several threads.
class Regex {
 public:
  // `pattern` in the syntax of Oniguruma (Hugging Face's engine), as far as tokenizers use it; it
  // runs on PCRE2. FormatError quotes what is not understood.
  explicit Regex(const std::string& pattern);
  // One that matches `text` itself.
  static Regex literal(const std::string& text);

  // All matches from left to right. `text` is valid UTF-8 (not checked again).
  std::vector<TextSpan> matches(std::string_view text) const;

 private:
  struct Code;
  explicit Regex(std::shared_ptr<const Code> code) : code_(std::move(code)) {}
  std::shared_ptr<const Code> code_;
};

// What becomes of a match that separates: the names of tokenizers' SplitDelimiterBehavior.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

struct Splitter {
  Regex regex;
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;  // what does not match separates
};

// Appends the parts of `text` to `parts`, without empty ones.
void split_text(const Splitter& splitter, std::string_view text,
                std::vector<std::string_view>& parts);

// The expression in PCRE2's syntax; for the tests.
std::string oniguruma_to_pcre2(const std::string& pattern);

}  // namespace leash

// Regular expressions as Hugging Face's tokenizers mean them, and splitting text at their matches.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
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

  // All matches from left to right, without an empty one right behind another match. `text` is
  // valid UTF-8 (not checked again). FormatError when matching takes far more steps or time than
  // any expression that people use.
  class Matches {
   public:
    Matches(const Regex& regex, std::string_view text);
    std::optional<TextSpan> next();

   private:
    std::optional<TextSpan> search(size_t start);
    void check_time();

    const Regex& regex_;
    std::string_view text_;
    size_t start_ = 0;
    std::optional<size_t> last_end_;
    size_t searches_ = 0;
    std::optional<double> deadline_;  // of this thread's CPU time, in seconds
  };

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
};

// What becomes of a match that separates: the names of tokenizers' SplitDelimiterBehavior.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

// A class of characters, each of which is a match.
using CharPredicate = bool (*)(char32_t);

struct Splitter {
  std::variant<Regex, CharPredicate> pattern;
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;  // what does not match separates
};

// Appends the parts of `text` to `parts`, without empty ones.
void split_text(const Splitter& splitter, std::string_view text,
                std::vector<std::string_view>& parts);

// The expression in PCRE2's syntax; for the tests.
std::string oniguruma_to_pcre2(const std::string& pattern);

}  // namespace leash

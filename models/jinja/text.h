// Text of a template: Python's str, which counts code points, and knows which bytes a user wrote.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace leash::jinja {

// Bytes [begin, end).
struct TextRange {
  size_t begin = 0;
  size_t end = 0;

  bool operator==(const TextRange&) const = default;
};

struct Text {
  Text() = default;
  // Valid UTF-8.
  explicit Text(std::string text);

  std::string bytes;
  int64_t length = 0;              // code points
  bool markup = false;             // markupsafe's Markup, as the filter safe makes it
  std::vector<TextRange> foreign;  // what a user wrote: ascending, apart from each other

  bool ascii() const { return length == static_cast<int64_t>(bytes.size()); }
  // Where the code point `index` begins, 0 ≤ index ≤ length.
  size_t offset(int64_t index) const;
  Text part(size_t begin, size_t end) const;
};

// Joins texts and remembers what of the result a user wrote.
class TextBuilder {
 public:
  void add(std::string_view bytes) { bytes_ += bytes; }
  void add(const Text& text) { add(text, 0, text.bytes.size()); }
  void add(const Text& text, size_t begin, size_t end);
  // What stands for bytes of which some were foreign.
  void add_foreign(std::string_view bytes);
  size_t size() const { return bytes_.size(); }
  Text finish();

 private:
  std::string bytes_;
  std::vector<TextRange> foreign_;
};

bool any_foreign(const Text& text, size_t begin, size_t end);

// The code point at `at` of valid UTF-8, which is moved behind it.
char32_t next_char(std::string_view text, size_t& at);
void append_char(std::string& text, char32_t c);
std::vector<char32_t> chars_of(std::string_view text);

// First occurrence of `part` at or behind `from`; npos where there is none. Linear time.
size_t find_part(std::string_view text, std::string_view part, size_t from);
size_t rfind_part(std::string_view text, std::string_view part);

// Python's str.isspace for one code point, which is also what strip, split and \s take away.
bool is_python_space(char32_t c);
size_t leading_space(std::string_view text);
size_t trailing_space(std::string_view text);
// The lines of str.splitlines, with what ends them in `ends` (empty at the end of the text).
struct Line {
  size_t begin = 0;
  size_t end = 0;   // of its text
  size_t next = 0;  // behind its line break
};
std::vector<Line> split_lines(std::string_view text);

// Unicode's full case mappings, as str.upper, str.lower and str.title take them.
std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string to_title(std::string_view one_char);
// One of several characters, which a sigma looks around among.
std::string lower_of(const std::vector<char32_t>& chars, size_t at);
bool is_lower_char(char32_t c);
bool is_upper_char(char32_t c);
bool is_title_char(char32_t c);
bool is_cased(char32_t c);
bool is_printable_char(char32_t c);

}  // namespace leash::jinja

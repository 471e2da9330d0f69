#include "models/jinja/text.h"

#include <cstring>
#include <utility>

namespace leash::jinja {
namespace {

bool continues_char(char c) { return (static_cast<uint8_t>(c) & 0xC0) == 0x80; }

int64_t count_chars(std::string_view text) {
  int64_t count = 0;
  for (const char c : text) count += continues_char(c) ? 0 : 1;
  return count;
}

bool ends_line(char32_t c) {
  return (c >= 0xA && c <= 0xD) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

}  // namespace

Text::Text(std::string text) : bytes(std::move(text)), length(count_chars(bytes)) {}

size_t Text::offset(int64_t index) const {
  if (ascii()) return static_cast<size_t>(index);
  size_t at = 0;
  while (at < bytes.size() && (index > 0 || continues_char(bytes[at]))) {
    ++at;
    while (at < bytes.size() && continues_char(bytes[at])) ++at;
    --index;
  }
  return at;
}

Text Text::part(size_t begin, size_t end) const {
  TextBuilder builder;
  builder.add(*this, begin, end);
  Text result = builder.finish();
  result.markup = markup;
  return result;
}

void TextBuilder::add(const Text& text, size_t begin, size_t end) {
  const size_t shift = bytes_.size();
  for (const TextRange& range : text.foreign) {
    const size_t from = std::max(range.begin, begin), to = std::min(range.end, end);
    if (from >= to) continue;
    if (!foreign_.empty() && foreign_.back().end == shift + from - begin) {
      foreign_.back().end = shift + to - begin;
    } else {
      foreign_.push_back({shift + from - begin, shift + to - begin});
    }
  }
  bytes_.append(text.bytes, begin, end - begin);
}

void TextBuilder::add_foreign(std::string_view bytes) {
  if (bytes.empty()) return;
  if (!foreign_.empty() && foreign_.back().end == bytes_.size()) {
    foreign_.back().end += bytes.size();
  } else {
    foreign_.push_back({bytes_.size(), bytes_.size() + bytes.size()});
  }
  bytes_ += bytes;
}

Text TextBuilder::finish() {
  Text text(std::move(bytes_));
  text.foreign = std::move(foreign_);
  bytes_.clear();
  foreign_.clear();
  return text;
}

bool any_foreign(const Text& text, size_t begin, size_t end) {
  for (const TextRange& range : text.foreign) {
    if (range.begin < end && begin < range.end) return true;
  }
  return false;
}

char32_t next_char(std::string_view text, size_t& at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(at);
  const size_t length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  char32_t c = length == 1 ? first : first & (0x7F >> length);
  for (size_t i = 1; i < length && at + i < text.size(); ++i) c = c << 6 | (byte(at + i) & 0x3F);
  at = std::min(at + length, text.size());
  return c;
}

void append_char(std::string& text, char32_t c) {
  const auto add = [&](char32_t byte) { text += static_cast<char>(byte); };
  if (c < 0x80) return add(c);
  if (c < 0x800) {
    add(0xC0 | c >> 6);
  } else {
    if (c < 0x10000) {
      add(0xE0 | c >> 12);
    } else {
      add(0xF0 | c >> 18);
      add(0x80 | (c >> 12 & 0x3F));
    }
    add(0x80 | (c >> 6 & 0x3F));
  }
  add(0x80 | (c & 0x3F));
}

std::vector<char32_t> chars_of(std::string_view text) {
  std::vector<char32_t> chars;
  for (size_t at = 0; at < text.size();) chars.push_back(next_char(text, at));
  return chars;
}

size_t find_part(std::string_view text, std::string_view part, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (part.empty()) return from;
  // glibc's memmem takes linear time, which std::string_view::find does not.
  const void* found = memmem(text.data() + from, text.size() - from, part.data(), part.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

size_t rfind_part(std::string_view text, std::string_view part) {
  const std::string backwards(text.rbegin(), text.rend());
  const std::string wanted(part.rbegin(), part.rend());
  const size_t found = find_part(backwards, wanted, 0);
  return found == std::string_view::npos ? found : text.size() - found - part.size();
}

bool is_python_space(char32_t c) {
  return (c >= 0x9 && c <= 0xD) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

size_t leading_space(std::string_view text) {
  size_t end = 0;
  for (size_t at = 0; at < text.size() && is_python_space(next_char(text, at));) end = at;
  return end;
}

size_t trailing_space(std::string_view text) {
  size_t begin = text.size();
  while (begin > 0) {
    size_t start = begin - 1;
    while (start > 0 && continues_char(text[start])) --start;
    size_t at = start;
    if (!is_python_space(next_char(text, at))) break;
    begin = start;
  }
  return text.size() - begin;
}

std::vector<Line> split_lines(std::string_view text) {
  std::vector<Line> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = at;
    const char32_t c = next_char(text, at);
    if (!ends_line(c)) continue;
    if (c == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.push_back({begin, end, at});
    begin = at;
  }
  if (begin < text.size()) lines.push_back({begin, text.size(), text.size()});
  return lines;
}

}  // namespace leash::jinja

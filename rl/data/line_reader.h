// Lines of a file, or of standard input, in memory that does not grow with either.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace leash {

// More than any text for a model has: its parsed form has to fit into memory several times.
inline constexpr size_t kMaxLineBytes = size_t{16} << 20;

class LineReader {
 public:
  // A regular file. FormatError names it and says why it cannot be read.
  explicit LineReader(const std::filesystem::path& file);
  static LineReader standard_input();
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  // Lines end at \n, which is left out; the last one may lack it. False behind it. FormatError for
  // a line of more than kMaxLineBytes, and where reading fails.
  bool next(std::string& line);
  // Of the line that `next` gave, from 1 on.
  int64_t number() const { return number_; }
  // The file, or "standard input", for messages.
  const std::string& name() const { return name_; }
  // What is read but not yet given, before the first line: at least one byte unless it is empty.
  std::string_view head();

 private:
  LineReader(int descriptor, std::string name);
  // False at the end.
  bool fill();

  int descriptor_;
  bool owned_ = false;
  std::string name_;
  std::string buffer_;
  size_t begin_ = 0;  // of what is not yet given
  int64_t number_ = 0;
};

}  // namespace leash

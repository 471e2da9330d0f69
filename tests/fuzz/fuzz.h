// What every fuzz target shares: files in memory, and which errors are a refusal.
#pragma once

#include <c10/util/Exception.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "models/errors.h"

namespace leash::fuzzing {

// A folder of this process under TMPDIR (which tests/fuzz/run puts into memory, and removes), for
// readers that take a file's name.
class InputFolder {
 public:
  InputFolder();
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  // Empty contents: there is no such file.
  void put(const std::string& name, std::string_view contents) const;

 private:
  std::filesystem::path path_;
};

inline std::string_view text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// An input that stands for several files: `count` of them with zero bytes between, which no text
// may hold. The last one takes the rest; those that are missing are empty.
std::vector<std::string_view> files_of(std::string_view input, size_t count);

// Calls a reader. What leash refuses in its own words is as good as what it reads; any other
// exception ends the process, which the fuzzer reports.
template <class Read>
void read_or_refuse(const Read& read) {
  try {
    read();
  } catch (const FormatError&) {
  } catch (const ConfigError&) {
  } catch (const c10::Error&) {
  } catch (const std::system_error&) {
  }
}

// Ends the process where a property does not hold.
void require(bool holds, std::string_view what);

}  // namespace leash::fuzzing

// Regular expressions in Python's dialect, as PEFT's configuration uses them, on PCRE2.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace leash {

class PythonPattern {
 public:
  // ConfigError naming `setting` where the pattern does not compile.
  PythonPattern(const std::string& pattern, std::string setting);

  // re.fullmatch. ConfigError when the pattern needs too many steps on this text.
  bool matches_whole(std::string_view text) const;

 private:
  std::shared_ptr<const void> code_;  // a pcre2_code; patterns are shared by copies
  std::string setting_;
};

}  // namespace leash

#include "experiments/cli/output.h"

#include <unistd.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <string_view>

#include "models/printable.h"

namespace leash::cli {

void print_json_line(const nlohmann::ordered_json& value) {
  std::cout << value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n'
            << std::flush;
}

std::string for_output(std::string_view text) {
  static const bool terminal = ::isatty(STDOUT_FILENO) == 1;
  if (!terminal) return std::string(text);
  std::string shown;  // a tab is no harm
  for (const char c : text) shown += c == '\t' ? std::string("    ") : std::string(1, c);
  return printable_lines(shown, shown.size());
}

void AnswerStream::push(int64_t token) {
  std::cout << for_output(pieces_.push(token)) << std::flush;
}

void AnswerStream::finish(const std::string& text) {
  std::cout << for_output(pieces_.finish(text)) << '\n' << std::flush;
}

}  // namespace leash::cli

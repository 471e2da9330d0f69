#include "experiments/cli/output.h"

#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

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

AnswerStream::AnswerStream(const Tokenizer& tokenizer, std::vector<int64_t> eos_token_ids,
                           std::vector<std::string> stop_texts)
    : decoder_(tokenizer, /*skip_special=*/true),
      eos_token_ids_(std::move(eos_token_ids)),
      stop_texts_(std::move(stop_texts)) {}

size_t AnswerStream::held_back() const {
  size_t longest = 0;
  for (const std::string& stop : stop_texts_) {
    if (const size_t at = text_.find(stop); at != std::string::npos) {
      longest = std::max(longest, text_.size() - at);  // complete: finish() knows where it ends
    }
    for (size_t n = std::min(stop.size(), text_.size()); n > longest; --n) {
      if (text_.ends_with(std::string_view(stop).substr(0, n))) longest = n;
    }
  }
  return longest;
}

void AnswerStream::push(int64_t token) {
  if (std::ranges::count(eos_token_ids_, token) != 0) return;
  text_ += decoder_.push(token);
  const size_t end = std::max(printed_, text_.size() - std::min(text_.size(), held_back()));
  std::cout << for_output(std::string_view(text_).substr(printed_, end - printed_)) << std::flush;
  printed_ = end;
}

void AnswerStream::finish(const std::string& text) {
  if (text.size() > printed_) std::cout << for_output(std::string_view(text).substr(printed_));
  std::cout << '\n' << std::flush;
}

}  // namespace leash::cli

#include "experiments/cli/answer_pieces.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace leash::cli {

AnswerPieces::AnswerPieces(const Tokenizer& tokenizer, std::vector<int64_t> eos_token_ids,
                           std::vector<std::string> stop_texts)
    : decoder_(tokenizer, /*skip_special=*/true),
      eos_token_ids_(std::move(eos_token_ids)),
      stop_texts_(std::move(stop_texts)) {}

size_t AnswerPieces::held_back() const {
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

std::string AnswerPieces::push(int64_t token) {
  if (std::ranges::count(eos_token_ids_, token) != 0) return "";
  text_ += decoder_.push(token);
  const size_t end = std::max(given_, text_.size() - std::min(text_.size(), held_back()));
  std::string piece = text_.substr(given_, end - given_);
  given_ = end;
  return piece;
}

std::string AnswerPieces::finish(const std::string& text) const {
  return text.size() > given_ ? text.substr(given_) : "";
}

}  // namespace leash::cli

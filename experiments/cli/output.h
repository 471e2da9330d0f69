// What commands print: JSON lines, and text that appears token by token.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "experiments/cli/answer_pieces.h"
#include "models/tokenizer/tokenizer.h"

namespace leash::cli {

// One line on standard output, flushed, so that whoever reads the pipe sees it at once. Invalid
// UTF-8 becomes U+FFFD; NaN and infinities become null.
// What a model said, on its way to standard output: as it is into a pipe or file, with everything
// that a terminal would obey escaped on a terminal.
std::string for_output(std::string_view text);

void print_json_line(const nlohmann::ordered_json& value);

// Prints an answer while it is drawn.
class AnswerStream {
 public:
  AnswerStream(const Tokenizer& tokenizer, std::vector<int64_t> eos_token_ids,
               std::vector<std::string> stop_texts)
      : pieces_(tokenizer, std::move(eos_token_ids), std::move(stop_texts)) {}
  void push(int64_t token);
  // Prints what is missing from the complete answer, and a newline.
  void finish(const std::string& text);

 private:
  AnswerPieces pieces_;
};

}  // namespace leash::cli

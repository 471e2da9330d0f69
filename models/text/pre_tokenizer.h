// Cutting text into the words that a model of subwords sees: a list of steps, named as in
// tokenizer.json.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/text/regex_split.h"

namespace leash {

// A part of a text, and whether the text begins with it.
struct TextPiece {
  std::string_view text;
  bool first = false;
};

class PreTokenizer {
 public:
  // Where a step puts what it makes of a piece. Texts that it writes have to be stored.
  struct Sink {
    std::vector<TextPiece>& pieces;
    std::deque<std::string>& storage;
    std::string_view store(std::string text) { return storage.emplace_back(std::move(text)); }
  };
  using Step = std::function<void(const TextPiece&, Sink&)>;

  // Splits every part that the earlier steps left.
  void add(Step step) { steps_.push_back(std::move(step)); }
  void add_split(Splitter splitter);

  // The words of `text` (valid UTF-8), in order; they point into it or into `storage`.
  std::vector<TextPiece> split(const TextPiece& text, std::deque<std::string>& storage) const;

 private:
  std::vector<Step> steps_;
};

// The steps of Hugging Face's tokenizers.
namespace pre_tokenizers {

// GPT-2's split, which ByteLevel uses.
Splitter gpt2();
Splitter digits(bool individual);
Splitter punctuation(SplitBehavior behavior);
Splitter white_space();  // WhitespaceSplit
// Whitespace: runs of word characters, and of what is neither that nor white space.
PreTokenizer::Step words();
// A space in front of every part that does not begin with one.
PreTokenizer::Step prefix_space();
// Bytes spelled in GPT-2's alphabet.
PreTokenizer::Step byte_level();
PreTokenizer::Step fixed_length(size_t characters);

struct Metaspace {
  enum class Prepend { always, first, never };
  std::string replacement = "\xE2\x96\x81";  // one character: U+2581
  Prepend prepend = Prepend::always;
  bool split = true;
};
PreTokenizer::Step metaspace(const Metaspace& options);

}  // namespace pre_tokenizers
}  // namespace leash

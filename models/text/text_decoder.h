// Tokens' spellings back to text: a chain of steps, named as in tokenizer.json's decoder. Whole
// texts and streams go through the same steps, one token at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/text/regex_split.h"

namespace leash {

// What a step hands on. Strings are valid UTF-8.
class DecodeSink {
 public:
  virtual ~DecodeSink() = default;
  virtual void push(std::string token) = 0;
  // No token follows.
  virtual void finish() = 0;
};

class TextDecoder {
 public:
  // A step's state for one text, in front of the next step.
  using Start = std::function<std::unique_ptr<DecodeSink>(DecodeSink& next)>;
  // What the step makes of a token that is neither the first nor the last one.
  using Middle = std::function<std::string(std::string token)>;
  struct Step {
    Start start;
    Middle middle;
  };

  void add(Step step) { steps_.push_back(std::move(step)); }
  // From here on steps see the text in pieces of any size, no longer token by token.
  void set_fused() { fused_ = true; }
  bool fused() const { return fused_; }

  // What one token stands for inside a text; may be a part of a UTF-8 character.
  std::string bytes_of(std::string spelling) const;

  // One text, token by token.
  class Stream {
   public:
    explicit Stream(const TextDecoder& decoder);
    ~Stream();
    Stream(Stream&&) noexcept;
    Stream& operator=(Stream&&) noexcept;
    void push(std::string spelling);
    void finish();
    // The text that became complete since the last call; valid UTF-8.
    std::string take();

   private:
    struct Chain;
    std::unique_ptr<Chain> chain_;
  };

 private:
  std::vector<Step> steps_;
  bool fused_ = false;
};

// The steps of Hugging Face's tokenizers.
namespace decoders {

TextDecoder::Step byte_level();
TextDecoder::Step replace(Regex pattern, std::string by);
TextDecoder::Step byte_fallback();
// Up to `start` and `stop` characters `content` at the ends: of each token, or of the whole text.
TextDecoder::Step strip(std::string content, size_t start, size_t stop);
TextDecoder::Step strip_whole(std::string content, size_t start, size_t stop);
// In the first token there is no space in `replacement`'s place when `drop_first`.
TextDecoder::Step metaspace(std::string replacement, bool drop_first);
TextDecoder::Step word_piece(std::string prefix, bool cleanup);
TextDecoder::Step bpe(std::string suffix);
// Spaces between tokens: what a tokenizer without a decoder does.
TextDecoder::Step joined_by_spaces();
// `step` sees the whole text at once, as one token.
TextDecoder::Step whole(TextDecoder::Step step);

}  // namespace decoders
}  // namespace leash

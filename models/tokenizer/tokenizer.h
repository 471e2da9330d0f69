// Text to token ids and back, from a tokenizer.json or from a GGUF's vocabulary.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/tokenizer/byte_range.h"

namespace leash {

class ChatFormat;

class Tokenizer {
 public:
  // From a GGUF file, or a folder that holds tokenizer.json or, without it, SentencePiece's
  // tokenizer.model (and tokenizer_config.json, special_tokens_map.json where they exist).
  // FormatError when it is damaged or of a kind that is not supported.
  static Tokenizer load(const std::filesystem::path& model);

  // Ids of `text`; special and added tokens inside the text are recognised. Adds no BOS and no EOS.
  // Invalid UTF-8 is read as Python's errors="replace" does.
  std::vector<int64_t> encode(std::string_view text) const;
  // The same, but special tokens that overlap `plain` (ascending, apart) stay text.
  std::vector<int64_t> encode(std::string_view text, std::span<const ByteRange> plain) const;
  // The same with the tokenizer's own special tokens around it (BOS for Gemma; nothing for
  // SmolLM2).
  std::vector<int64_t> encode_with_special(std::string_view text) const;

  // Text of `ids`, as the tokenizer's decoder makes it: SentencePiece's space in front of a text is
  // gone, a run of byte tokens is a text or U+FFFD. Special tokens are left out when
  // `skip_special`. Bytes that are no valid UTF-8 become U+FFFD. An id that no token has is empty
  // text (models pad their vocabularies past the tokenizer's); a negative one is an error.
  std::string decode(std::span<const int64_t> ids, bool skip_special = false) const;
  // The bytes that one token stands for inside a text (a special token's text; may be a part of a
  // UTF-8 character).
  std::string token_bytes(int64_t id) const;

  int64_t vocab_size() const;
  std::optional<int64_t> token_id(std::string_view token) const;
  bool is_special(int64_t id) const;
  std::optional<int64_t> bos_token_id() const;
  std::optional<int64_t> eos_token_id() const;
  std::optional<int64_t> pad_token_id() const;
  // The checkpoint's Jinja chat template, empty when it has none.
  const std::string& chat_template() const;
  // How conversations become text (chat_template.h): the checkpoint's, unless it was set.
  const ChatFormat& chat() const { return *chat_; }
  void set_chat(std::shared_ptr<const ChatFormat> chat) { chat_ = std::move(chat); }

 private:
  friend class StreamDecoder;
  struct State;
  std::shared_ptr<const State> state_;
  std::shared_ptr<const ChatFormat> chat_;
};

// Whether each id stands for the same token in both.
bool same_vocabulary(const Tokenizer& a, const Tokenizer& b);

// Turns a stream of ids into a stream of valid UTF-8: a character whose bytes are split over tokens
// comes out whole, and all pieces together are what Tokenizer::decode gives.
class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer& tokenizer, bool skip_special);
  // The text that became complete with this token.
  std::string push(int64_t id);
  // What is left, with U+FFFD for an unfinished character. A new text may begin behind it.
  std::string finish();
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace leash

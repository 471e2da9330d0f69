// What every kind of vocabulary in a GGUF shares: tokens, their types and scores, the tokens with a
// role.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/io/gguf.h"
#include "models/subwords/vocabulary.h"
#include "models/tokenizer/added_tokens.h"
#include "models/tokenizer/tokenizer_parts.h"

namespace leash {

// llama.cpp's token types.
enum class GgufTokenType : int64_t {
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6
};

// Keys are given without "tokenizer.ggml." in front.
class GgufVocabulary {
 public:
  // FormatError where the lists of tokens and of their types do not fit each other.
  explicit GgufVocabulary(const GgufFile& file);

  const GgufFile& file() const { return file_; }
  Vocabulary vocabulary() const;
  GgufTokenType type(int64_t id) const;
  std::vector<float> scores() const;  // by id
  // Control and user-defined tokens, which are recognised inside text; control tokens are special.
  std::vector<AddedToken> added_tokens() const;

  bool flag(const char* key, bool otherwise) const;
  std::string bytes(const char* key) const;  // of an array of bytes; empty where there is none
  // Where the key is absent, `otherwise` if there are so many tokens (llama.cpp's defaults).
  std::optional<int64_t> token_id(const char* key, std::optional<int64_t> otherwise = {}) const;

  // What text gets unless the file says otherwise.
  struct Surrounding {
    bool bos = false;
    bool eos = false;
    bool bos_always = false;  // the file's word does not count
  };
  // bos, eos and pad where the file names them, and prefix and suffix.
  void set_surrounding(TokenizerParts& parts, const Surrounding& otherwise) const;

 private:
  const GgufFile& file_;
  std::vector<std::string> tokens_;
  std::vector<int64_t> types_;  // empty: all are normal
};

}  // namespace leash

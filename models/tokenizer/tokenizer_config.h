// What lies beside a tokenizer in a Hugging Face folder: tokenizer_config.json,
// special_tokens_map.json, chat_template.jinja.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/tokenizer/added_tokens.h"
#include "models/tokenizer/tokenizer_parts.h"

namespace leash {

class TokenizerConfig {
 public:
  // Files that are not there say nothing.
  explicit TokenizerConfig(const std::filesystem::path& folder);

  // `listed` (tokenizer.json's added_tokens; may be null), and what added_tokens_decoder has
  // besides.
  std::vector<AddedToken> added_tokens(const nlohmann::json& listed) const;
  // bos, eos and pad, the tokens around a text as far as the settings decide, the chat template.
  void apply(TokenizerParts& parts) const;
  // What the tokenizer's class adds to a text where no setting says otherwise. FormatError for a
  // class whose ids are not those of its tokenizer.model.
  struct Added {
    bool bos = false;
    bool eos = false;
  };
  Added sentence_piece_defaults() const;
  // A setting of tokenizer_config.json.
  bool flag(const char* key, bool otherwise) const;
  bool says(const char* key) const;

 private:
  // "bos_token" and the like: a string, or an object with its content.
  std::optional<int64_t> named_token(const TokenizerParts& parts, const char* key) const;
  bool obeys_settings() const;
  void require_agreement(const char* setting, std::optional<int64_t> token,
                         const std::vector<int64_t>& added) const;
  void apply_settings(TokenizerParts& parts) const;
  std::string read_chat_template() const;

  std::filesystem::path folder_;
  nlohmann::json config_, map_;
};

}  // namespace leash

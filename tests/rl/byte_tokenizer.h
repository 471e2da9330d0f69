// A tokenizer.json without merges: each byte is a token, with ChatML's special tokens.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace leash::testing {

// The chat template.
inline constexpr char kChatMl[] =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] "
    "+ '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ "
    "'<|im_start|>assistant\\n' }}{% endif %}";

inline void append_utf8(std::string& text, int code_point) {
  if (code_point < 0x80) {
    text += static_cast<char>(code_point);
  } else {
    text += static_cast<char>(0xC0 | (code_point >> 6));
    text += static_cast<char>(0x80 | (code_point & 0x3F));
  }
}

// Byte b has the id 3 + (b + rotation) % 256, so that two tokenizers can differ.
inline std::string byte_tokenizer_json(int rotation = 0) {
  nlohmann::json vocabulary = {{"<|endoftext|>", 0}, {"<|im_start|>", 1}, {"<|im_end|>", 2}};
  nlohmann::json added = nlohmann::json::array();
  for (const auto& [token, id] : vocabulary.items()) {
    added.push_back({{"id", id},
                     {"content", token},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  // GPT-2's alphabet: printable bytes stand for themselves, the others for U+0100 and on.
  int stand_in = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    std::string token;
    append_utf8(token, printable ? byte : stand_in++);
    vocabulary[token] = 3 + (byte + rotation) % 256;
  }
  const nlohmann::json byte_level = {{"type", "ByteLevel"},
                                     {"add_prefix_space", false},
                                     {"trim_offsets", true},
                                     {"use_regex", true}};
  return nlohmann::json{{"version", "1.0"},
                        {"added_tokens", added},
                        {"normalizer", nullptr},
                        {"pre_tokenizer", byte_level},
                        {"post_processor", nullptr},
                        {"decoder", byte_level},
                        {"model",
                         {{"type", "BPE"},
                          {"dropout", nullptr},
                          {"unk_token", nullptr},
                          {"continuing_subword_prefix", nullptr},
                          {"end_of_word_suffix", nullptr},
                          {"fuse_unk", false},
                          {"vocab", vocabulary},
                          {"merges", nlohmann::json::array()}}}}
      .dump();
}

// The same with <|im_start|> before and <|im_end|> behind every text, as a post-processor's
// template adds them.
inline std::string byte_tokenizer_with_template_json() {
  nlohmann::json tokenizer = nlohmann::json::parse(byte_tokenizer_json());
  const auto special = [](const char* token) {
    return nlohmann::json{{"SpecialToken", {{"id", token}, {"type_id", 0}}}};
  };
  const auto entry = [](const char* token, int id) {
    return nlohmann::json{{"id", token}, {"ids", {id}}, {"tokens", {token}}};
  };
  const nlohmann::json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  tokenizer["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single", {special("<|im_start|>"), text, special("<|im_end|>")}},
      {"pair", nlohmann::json::array()},
      {"special_tokens",
       {{"<|im_start|>", entry("<|im_start|>", 1)}, {"<|im_end|>", entry("<|im_end|>", 2)}}}};
  return tokenizer.dump();
}

}  // namespace leash::testing

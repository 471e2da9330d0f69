// A byte-level tokenizer for the 96 ids of the tiny model, written to a folder and loaded.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/tokenizer/tokenizer.h"
#include "tests/support/files.h"

namespace leash::testing {

// Spellings in order of their ids: 0 <pad>, 1 <s>, 2 <end> (special); 3… single letters, a space
// (spelled Ġ), "ab", "stop", the two bytes of é, digits, and filling up to 95. There is no room for
// a token of every byte; a byte without one is read as <pad>, the unknown token.
inline std::vector<std::string> tiny_spellings() {
  std::vector<std::string> spellings = {"<pad>", "<s>", "<end>", "Ġ", "ab", "stop", "Ã", "©"};
  for (char c = 'a'; c <= 'z'; ++c) spellings.emplace_back(1, c);
  for (char c = 'A'; c <= 'Z'; ++c) spellings.emplace_back(1, c);
  for (char c = '0'; c <= '9'; ++c) spellings.emplace_back(1, c);
  for (char c = 'a'; spellings.size() < 96; ++c) spellings.push_back(std::string(2, c) + "x");
  return spellings;
}

inline int64_t tiny_id(const std::string& spelling) {
  const auto spellings = tiny_spellings();
  for (size_t i = 0; i < spellings.size(); ++i) {
    if (spellings[i] == spelling) return static_cast<int64_t>(i);
  }
  return -1;
}

inline Tokenizer tiny_tokenizer() {
  nlohmann::json vocab = nlohmann::json::object(), added = nlohmann::json::array();
  const auto spellings = tiny_spellings();
  for (size_t i = 0; i < spellings.size(); ++i) {
    vocab[spellings[i]] = i;
    if (i < 3) added.push_back({{"id", i}, {"content", spellings[i]}, {"special", true}});
  }
  const nlohmann::json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  const ScratchFolder folder;
  const nlohmann::json model = {{"type", "BPE"},
                                {"vocab", vocab},
                                {"merges", nlohmann::json::array()},
                                {"unk_token", spellings[0]}};
  write_text(folder / "tokenizer.json", nlohmann::json{{"model", model},
                                                       {"added_tokens", added},
                                                       {"pre_tokenizer", byte_level},
                                                       {"decoder", byte_level}}
                                            .dump());
  return Tokenizer::load(folder.path());
}

}  // namespace leash::testing

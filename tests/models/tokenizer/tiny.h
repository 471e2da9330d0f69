// The tiny trained tokenizer of tests/golden, patched and written where a test wants it: as a
// folder with tokenizer.json, or as a GGUF file.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/errors.h"
#include "models/tokenizer/tokenizer.h"
#include "tests/support/files.h"

namespace leash::testing {

inline nlohmann::json tiny_json() {
  static const auto json =
      nlohmann::json::parse(read_text(repository("tests/golden/tiny_tokenizer/tokenizer.json")));
  return json;
}

inline Tokenizer load_text(const std::string& tokenizer_json, const std::string& config = "") {
  const ScratchFolder folder;
  write_text(folder / "tokenizer.json", tokenizer_json);
  if (!config.empty()) write_text(folder / "tokenizer_config.json", config);
  return Tokenizer::load(folder.path());
}

// `patch` is a merge patch (RFC 7386): the empty one is json::object(), for {} is null and replaces
// the whole.
inline Tokenizer load_patched(const nlohmann::json& patch, const std::string& config = "") {
  nlohmann::json json = tiny_json();
  json.merge_patch(patch);
  return load_text(json.dump(), config);
}

// A GGUF file (version 3) without tensors.
class GgufText {
 public:
  void add(const std::string& key, const std::string& value) {
    begin(key, 8);
    text(value);
  }
  void add(const std::string& key, uint32_t value) {
    begin(key, 4);
    number(value, 4);
  }
  void add(const std::string& key, bool value) {
    begin(key, 7);
    number(value ? 1 : 0, 1);
  }
  void add(const std::string& key, const std::vector<std::string>& values) {
    begin_array(key, 8, values.size());
    for (const std::string& value : values) text(value);
  }
  void add(const std::string& key, const std::vector<int32_t>& values) {
    begin_array(key, 5, values.size());
    for (const int32_t value : values) number(static_cast<uint32_t>(value), 4);
  }
  std::string bytes() const {
    GgufText head;
    head.bytes_ = "GGUF";
    head.number(3, 4);
    head.number(0, 8);
    head.number(count_, 8);
    std::string all = head.bytes_ + bytes_;
    all.resize((all.size() + 31) / 32 * 32);
    return all;
  }

 private:
  void number(uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) bytes_ += static_cast<char>(value >> (8 * i));
  }
  void text(const std::string& value) {
    number(value.size(), 8);
    bytes_ += value;
  }
  void begin(const std::string& key, uint32_t type) {
    ++count_;
    text(key);
    number(type, 4);
  }
  void begin_array(const std::string& key, uint32_t type, size_t size) {
    begin(key, 9);
    number(type, 4);
    number(size, 8);
  }
  std::string bytes_;
  uint64_t count_ = 0;
};

// The tiny vocabulary as a GGUF would hold it, to be changed by a test before it is written.
struct TinyGguf {
  std::string model = "gpt2";
  std::string pre = "gpt-2";
  std::vector<std::string> tokens, merges;
  std::vector<int32_t> types;
  GgufText more;  // further metadata

  TinyGguf() {
    const nlohmann::json json = tiny_json();
    tokens.resize(json["model"]["vocab"].size());
    for (const auto& [token, id] : json["model"]["vocab"].items()) tokens[id] = token;
    for (const auto& merge : json["model"]["merges"]) {
      merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
    }
    types.assign(tokens.size(), 1);
    types[0] = types[1] = 3;
  }

  Tokenizer load() {
    more.add("tokenizer.ggml.model", model);
    if (!pre.empty()) more.add("tokenizer.ggml.pre", pre);
    if (!tokens.empty()) more.add("tokenizer.ggml.tokens", tokens);
    if (!types.empty()) more.add("tokenizer.ggml.token_type", types);
    if (!merges.empty()) more.add("tokenizer.ggml.merges", merges);
    const ScratchFolder folder;
    write_text(folder / "tiny.gguf", more.bytes());
    return Tokenizer::load(folder / "tiny.gguf");
  }
};

// The message of the FormatError that `action` throws; empty when it throws none.
template <class Action>
std::string format_error(const Action& action) {
  try {
    action();
  } catch (const FormatError& error) {
    return error.what();
  }
  return "";
}

}  // namespace leash::testing

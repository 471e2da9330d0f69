// Tokenizers of every kind against Hugging Face's tokenizers and SentencePiece
// (tests/golden/make_tokenizers.py).
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "models/text/unicode_forms.h"
#include "models/tokenizer/tokenizer.h"
#include "tests/models/tokenizer/tiny.h"
#include "tests/support/files.h"

namespace leash::testing {
namespace {

using nlohmann::json;

const json& kinds() {
  static const json golden =
      json::parse(read_text(repository("tests/golden/tokenizers/golden.json")));
  return golden;
}

Tokenizer load_kind(const std::string& name) {
  const auto folder = repository("tests/golden/tokenizers/" + name);
  return Tokenizer::load(name.starts_with("gguf") ? folder / "tiny.gguf" : folder);
}

// 64-bit FNV-1a over numbers as four little-endian bytes each.
template <class Numbers>
std::string hash_of(const Numbers& numbers) {
  uint64_t hash = 0xCBF29CE484222325;
  for (const auto number : numbers) {
    for (int i = 0; i < 4; ++i) {
      hash = (hash ^ (static_cast<uint64_t>(number) >> (8 * i) & 0xFF)) * 0x100000001B3;
    }
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

std::string hash_of_text(const std::string& text) {
  return hash_of(std::vector<uint8_t>(text.begin(), text.end()));
}

void expect_hash(const std::string& got, const json& wanted, const std::string& about) {
  if (!wanted.is_null()) {
    EXPECT_EQ(got, wanted.get<std::string>()) << about;
  }
}

std::string streamed(const Tokenizer& tokenizer, const std::vector<int64_t>& ids) {
  StreamDecoder stream(tokenizer, /*skip_special=*/false);
  std::string text;
  for (const int64_t id : ids) text += stream.push(id);
  return text + stream.finish();
}

TEST(GoldenTokenizerKinds, AgreeWithHuggingFace) {
  ASSERT_GE(kinds()["hugging_face"].size(), 12U);
  for (const auto& [name, wanted] : kinds()["hugging_face"].items()) {
    SCOPED_TRACE(name);
    const Tokenizer tokenizer = load_kind(name);
    for (size_t i = 0; i < kinds()["texts"].size(); ++i) {
      const std::string text = kinds()["texts"][i];
      const auto ids = tokenizer.encode_with_special(text);
      const std::string about = json(text).dump() + " became " + json(ids).dump();
      expect_hash(hash_of(ids), wanted["ids"][i], about);
      expect_hash(hash_of_text(tokenizer.decode(ids, true)), wanted["decoded"][i], about);
      expect_hash(hash_of_text(tokenizer.decode(ids)), wanted["whole"][i], about);
      EXPECT_EQ(streamed(tokenizer, ids), tokenizer.decode(ids)) << about;
    }
  }
}

TEST(GoldenTokenizerKinds, AgreeWithSentencePiece) {
  ASSERT_GE(kinds()["sentence_piece"].size(), 6U);
  for (const auto& [name, wanted] : kinds()["sentence_piece"].items()) {
    SCOPED_TRACE(name);
    const Tokenizer tokenizer = load_kind(name);
    const json& places = kinds()["sentence_piece_texts"];
    for (size_t i = 0; i < places.size(); ++i) {
      const std::string text = kinds()["texts"][places[i].get<size_t>()];
      const auto ids = tokenizer.encode(text);
      const std::string about = json(text).dump() + " became " + json(ids).dump();
      expect_hash(hash_of(ids), wanted["ids"][i], about);
      expect_hash(hash_of_text(tokenizer.decode(ids)), wanted["decoded"][i], about);
    }
  }
}

TEST(GoldenTokenizerKinds, EveryNameThatLlamaCppKnowsSplitsAsItsExpressions) {
  std::istringstream stream(read_text(repository("tests/golden/tokenizer_lines.jsonl")));
  std::vector<std::string> texts;
  for (std::string line; std::getline(stream, line);) {
    const std::string text = json::parse(line);
    if (normalize_nfc(text) == text) texts.push_back(text);
  }
  ASSERT_GE(kinds()["named"].size(), 80U);
  for (const auto& [name, wanted] : kinds()["named"].items()) {
    SCOPED_TRACE(name);
    TinyGguf gguf;
    gguf.pre = name;
    gguf.more.add("tokenizer.ggml.bos_token_id", uint32_t{1});
    const Tokenizer tokenizer = gguf.load();
    std::vector<uint64_t> all;
    for (size_t i = 0; i < texts.size(); ++i) {
      const std::string hash = hash_of(tokenizer.encode(texts[i]));
      all.push_back(std::stoull(hash.substr(0, 8), nullptr, 16));
      if (i % 40 == 0) {
        EXPECT_EQ(hash, wanted["lines"][i / 40].get<std::string>()) << texts[i];
      }
    }
    EXPECT_EQ(hash_of(all), wanted["all"].get<std::string>());
  }
}

TEST(GoldenTokenizerKinds, SentencePieceFilesNameTheirTokens) {
  const Tokenizer tokenizer = load_kind("sp_bpe_bytes");
  EXPECT_EQ(tokenizer.bos_token_id(), 1);
  EXPECT_EQ(tokenizer.eos_token_id(), 2);
  EXPECT_EQ(tokenizer.encode_with_special("")[0], 1);
  EXPECT_EQ(tokenizer.encode("</s>"), (std::vector<int64_t>{2}));
}

}  // namespace
}  // namespace leash::testing

// Token ids against Hugging Face's tokenizers and llama.cpp (tests/golden/make_tokenizer.py).
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "models/text/unicode_forms.h"
#include "models/text/utf8.h"
#include "models/tokenizer/chat_template.h"
#include "models/tokenizer/tokenizer.h"
#include "tests/models/tokenizer/tiny.h"
#include "tests/support/files.h"

namespace leash::testing {
namespace {

using nlohmann::json;

json golden_json(const std::string& name) {
  return json::parse(read_text(repository("tests/golden/" + name)));
}

std::vector<json> golden_rows(const std::string& name) {
  std::istringstream stream(read_text(repository("tests/golden/" + name)));
  std::vector<json> rows;
  for (std::string line; std::getline(stream, line);) rows.push_back(json::parse(line));
  return rows;
}

const std::vector<std::string>& lines() {
  static const auto result = [] {
    std::vector<std::string> texts;
    for (const json& row : golden_rows("tokenizer_lines.jsonl")) texts.push_back(row);
    return texts;
  }();
  return result;
}

// 64-bit FNV-1a over numbers as four little-endian bytes each.
class Fnv {
 public:
  void add(int64_t number) {
    for (int i = 0; i < 4; ++i) {
      hash_ = (hash_ ^ (static_cast<uint64_t>(number) >> (8 * i) & 0xFF)) * 0x100000001B3;
    }
  }
  std::string hex() const {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash_));
    return text;
  }

 private:
  uint64_t hash_ = 0xCBF29CE484222325;
};

std::string fnv(const std::vector<int64_t>& ids) {
  Fnv hash;
  for (const int64_t id : ids) hash.add(id);
  return hash.hex();
}

std::string shown(const std::vector<int64_t>& ids) { return json(ids).dump(); }

// What a failure says of a line.
std::string about(const std::string& line, const std::vector<int64_t>& ids) {
  return "line " + json(line).dump() + " became " + shown(ids);
}

TEST(GoldenTokenizer, Smollm2AgreesWithHuggingFaceAndLlamaCpp) {
  const Tokenizer tokenizer = Tokenizer::load(smollm2());
  const auto rows = golden_rows("tokenizer_ids.jsonl");
  ASSERT_GE(rows.size(), 2000U);
  ASSERT_EQ(rows.size(), lines().size());
  size_t in_full = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto ids = tokenizer.encode(lines()[i]);
    const bool hashed = rows[i].size() == 2 && rows[i][0].is_string();
    in_full += hashed ? 0 : 1;
    if (hashed) {
      EXPECT_EQ(fnv(ids), rows[i][0].get<std::string>()) << about(lines()[i], ids);
      EXPECT_EQ(ids.size(), rows[i][1].get<size_t>()) << about(lines()[i], ids);
    } else {
      EXPECT_EQ(shown(ids), rows[i].dump()) << about(lines()[i], ids);
    }
    EXPECT_EQ(tokenizer.encode_with_special(lines()[i]), ids);
  }
  EXPECT_GE(in_full, 200U);
}

TEST(GoldenTokenizer, TinyTokenizerJsonInAllItsVariants) {
  const auto variants = golden_rows("tiny_tokenizer/variants.jsonl");
  ASSERT_GE(variants.size(), 15U);
  for (const json& variant : variants) {
    SCOPED_TRACE(variant["name"].get<std::string>());
    const Tokenizer tokenizer = load_patched(variant["patch"]);
    std::vector<std::string> texts;
    for (size_t i = 0; i < lines().size(); i += variant["every"].get<size_t>()) {
      texts.push_back(lines()[i]);
    }
    const size_t common = texts.size();
    for (const json& own : variant["own"]) texts.push_back(own);
    ASSERT_EQ(texts.size(), variant["hashes"].size());
    for (size_t i = 0; i < texts.size(); ++i) {
      const auto ids = tokenizer.encode_with_special(texts[i]);
      EXPECT_EQ(fnv(ids), variant["hashes"][i].get<std::string>()) << about(texts[i], ids);
      if (i >= common) {
        EXPECT_EQ(shown(ids), variant["own_ids"][i - common].dump()) << about(texts[i], ids);
      }
    }
  }
}

TEST(GoldenTokenizer, GgufPreTokenizersByNameAgreeWithLlamaCpp) {
  const json golden = golden_json("tiny_tokenizer/gguf.json");
  const size_t every = golden["every"];
  for (const std::string pre : {"smollm", "gpt-2", "llama-bpe", "default"}) {
    SCOPED_TRACE(pre);
    TinyGguf gguf;
    gguf.pre = pre;
    gguf.more.add("tokenizer.ggml.bos_token_id", uint32_t{1});
    const Tokenizer tokenizer = gguf.load();
    Fnv all;
    for (size_t i = 0; i < lines().size(); ++i) {
      const auto ids = tokenizer.encode(lines()[i]);
      all.add(static_cast<int64_t>(ids.size()));
      for (const int64_t id : ids) all.add(id);
      if (i % every == 0) {
        EXPECT_EQ(fnv(ids), golden[pre + " lines"][i / every].get<std::string>())
            << about(lines()[i], ids);
      }
    }
    EXPECT_EQ(all.hex(), golden[pre].get<std::string>());
  }
}

// llama.cpp does not normalise, so its lines are those that are in form C already; tokenizer.json's
// variant "qwen2" has the others.
TEST(GoldenTokenizer, GgufQwen2AgreesWithLlamaCppOnNormalizedText) {
  const json golden = golden_json("tiny_tokenizer/gguf.json");
  TinyGguf gguf;
  gguf.pre = "qwen2";
  const Tokenizer tokenizer = gguf.load();
  Fnv all;
  size_t compared = 0;
  for (const std::string& line : lines()) {
    if (normalize_nfc(line) != line) continue;
    const auto ids = tokenizer.encode(line);
    all.add(static_cast<int64_t>(ids.size()));
    for (const int64_t id : ids) all.add(id);
    const size_t every = golden["every"];
    if (compared % every == 0) {
      EXPECT_EQ(fnv(ids), golden["qwen2 lines"][compared / every].get<std::string>())
          << about(line, ids);
    }
    ++compared;
  }
  EXPECT_GT(compared, 2000U);
  EXPECT_EQ(all.hex(), golden["qwen2"].get<std::string>());
}

TEST(GoldenTokenizer, ChatTemplatesRenderAsJinja) {
  const json golden = golden_json("chat_templates.json");
  ASSERT_GE(golden["cases"].size(), 100U);
  for (const json& item : golden["cases"]) {
    std::vector<ChatMessage> messages;
    for (const json& m : item["messages"]) messages.push_back({m["role"], m["content"]});
    const std::string name = item["template"];
    const ChatFormat format(golden["templates"][name].get<std::string>(), {});
    EXPECT_EQ(format.render(messages, item["prompt"], {}).text, item["text"].get<std::string>())
        << name;
  }
}

TEST(GoldenTokenizer, InvalidUtf8BecomesWhatPythonMakesOfIt) {
  const json golden = golden_json("utf8_replace.json");
  const std::vector<int> edges = golden["edges"];
  for (size_t length = 1; length <= 4; ++length) {
    Fnv hash;
    std::vector<size_t> digits(length, 0);  // counts in base edges.size(), last digit fastest
    while (true) {
      std::string bytes, storage;
      for (const size_t d : digits) bytes += static_cast<char>(edges[d]);
      const std::string_view replaced = replace_invalid(bytes, storage);
      hash.add(static_cast<int64_t>(replaced.size()));
      for (const char c : replaced) hash.add(static_cast<uint8_t>(c));
      size_t i = length;
      while (i > 0 && ++digits[i - 1] == edges.size()) digits[--i] = 0;
      if (i == 0) break;
    }
    EXPECT_EQ(hash.hex(), golden["hashes_by_length"][length - 1].get<std::string>()) << length;
  }
}

}  // namespace
}  // namespace leash::testing

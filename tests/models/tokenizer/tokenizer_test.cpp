// Encoding and decoding: round trips, streams, long words, special tokens.
#include "models/tokenizer/tokenizer.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <chrono>
#include <random>

#include "models/text/unicode_forms.h"
#include "models/text/utf8.h"
#include "tests/models/tokenizer/tiny.h"
#include "tests/support/files.h"

namespace leash::testing {
namespace {

const Tokenizer& smol() {
  static const Tokenizer tokenizer = Tokenizer::load(smollm2());
  return tokenizer;
}

std::string utf8(char32_t c) {
  std::string text;
  if (c < 0x80) return std::string(1, static_cast<char>(c));
  const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  text += static_cast<char>((0x780 >> more & 0xFF) | c >> (6 * more));
  for (int i = more - 1; i >= 0; --i) text += static_cast<char>(0x80 | (c >> (6 * i) & 0x3F));
  return text;
}

// Text of many scripts: runs from one block each, white space and ASCII between them.
std::string random_text(std::mt19937& random, int64_t last_character) {
  std::string text;
  const size_t runs = random() % 6;
  for (size_t run = 0; run < runs; ++run) {
    const auto block = static_cast<char32_t>(random() % last_character);
    const size_t length = 1 + random() % 8;
    for (size_t i = 0; i < length; ++i) {
      const char32_t c = random() % 4 == 0 ? 0x20 + random() % 0x5F : block + random() % 64;
      if (c >= 0xD800 && c <= 0xDFFF) continue;
      if (static_cast<int64_t>(c) <= last_character) text += utf8(c);
    }
    static const char* kBetween[] = {" ", "\n", "  \t", "\r\n", "'s", "\xE2\x80\x8D", "12", ""};
    text += kBetween[random() % 8];
  }
  return text;
}

TEST(Tokenizer, DecodingGivesBackEveryValidText) {
  std::mt19937 random(1);
  const Tokenizer tiny = load_text(tiny_json().dump());
  for (int i = 0; i < 4000; ++i) {
    const std::string text = random_text(random, i % 2 == 0 ? 0x10FFFF : 0xFFFF);
    std::string storage;
    ASSERT_EQ(replace_invalid(text, storage), text);
    EXPECT_EQ(tiny.decode(tiny.encode(text)), text);
  }
}

// SmolLM2's vocabulary has no tokens for these bytes; text that needs them loses them, in Hugging
// Face's tokenizer and in llama.cpp as well (tests/golden/make_tokenizer.py compares it).
bool smollm2_lacks(unsigned char byte) {
  return std::string_view("\x04\x06\x13\x14\x16\x1D\xF1\xF2").find(static_cast<char>(byte)) !=
         std::string_view::npos;
}

TEST(Tokenizer, DecodingWithSmollm2GivesBackAllButTheBytesItLacks) {
  std::mt19937 random(2);
  size_t lossless = 0;
  for (int i = 0; i < 4000; ++i) {
    const std::string text = random_text(random, i % 2 == 0 ? 0x3FFFF : 0xFFFF);
    std::string kept;
    for (const char c : text) {
      if (!smollm2_lacks(static_cast<unsigned char>(c))) kept += c;
    }
    lossless += kept == text ? 1 : 0;
    std::string storage;
    EXPECT_EQ(smol().decode(smol().encode(text)), replace_invalid(kept, storage));
  }
  EXPECT_GT(lossless, 3500U);
  for (int byte = 0; byte < 0x80; ++byte) {
    const std::string text(1, static_cast<char>(byte));
    EXPECT_EQ(smol().decode(smol().encode(text)),
              smollm2_lacks(static_cast<unsigned char>(byte)) ? "" : text);
  }
}

TEST(Tokenizer, StreamDecoderGivesTheSameTextInValidPieces) {
  std::mt19937 random(3);
  for (int i = 0; i < 500; ++i) {
    std::vector<int64_t> ids = smol().encode(random_text(random, 0x3FFFF));
    // Tokens out of order make bytes that are no text.
    if (i % 2 == 0) std::shuffle(ids.begin(), ids.end(), random);
    if (i % 3 == 0) ids.insert(ids.begin() + static_cast<int64_t>(ids.size() / 2), 2);
    for (const bool skip : {false, true}) {
      StreamDecoder stream(smol(), skip);
      std::string text;
      for (const int64_t id : ids) {
        const std::string piece = stream.push(id);
        std::string storage;
        EXPECT_EQ(replace_invalid(piece, storage), piece);
        text += piece;
      }
      text += stream.finish();
      EXPECT_EQ(text, smol().decode(ids, skip));
    }
  }
}

TEST(Tokenizer, StreamDecoderHoldsBackOnlyAnUnfinishedCharacter) {
  const Tokenizer tiny = load_text(tiny_json().dump());
  const auto byte = [&](std::string_view spelling) { return *tiny.token_id(spelling); };
  StreamDecoder stream(tiny, false);
  EXPECT_EQ(stream.push(byte("\xC3\xB0")), "");  // F0
  EXPECT_EQ(stream.push(byte("\xC4\xB2")), "");  // 90
  EXPECT_EQ(stream.push(byte("a")),
            "\xEF\xBF\xBD"
            "a");
  EXPECT_EQ(stream.push(byte("\xC3\xA3")), "");              // E3
  EXPECT_EQ(stream.push(byte("\xC4\xA3")), "");              // 81
  EXPECT_EQ(stream.push(byte("\xC4\xA4")), "\xE3\x81\x82");  // 82
  EXPECT_EQ(stream.push(byte("\xC3\xB1")), "");              // F1
  EXPECT_EQ(stream.finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(stream.finish(), "");
}

TEST(Tokenizer, InvalidUtf8IsReadAsReplacementCharacters) {
  EXPECT_EQ(smol().encode("a\xFFz\xE3\x81"), smol().encode("a\xEF\xBF\xBDz\xEF\xBF\xBD"));
  EXPECT_EQ(smol().encode("\xED\xA0\x80"), smol().encode("\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"));
  EXPECT_NE(smol().encode("a\xFFz"), smol().encode("az"));
}

TEST(Tokenizer, SpecialTokensInsideTextAreRecognisedAndCanBeLeftOut) {
  const auto ids = smol().encode("a<|im_start|>user\n<|im_end|>b");
  EXPECT_EQ(std::ranges::count(ids, 1), 1);
  EXPECT_EQ(std::ranges::count(ids, 2), 1);
  EXPECT_EQ(smol().decode(ids), "a<|im_start|>user\n<|im_end|>b");
  EXPECT_EQ(smol().decode(ids, /*skip_special=*/true), "auser\nb");
}

TEST(Tokenizer, FactsOfTheGguf) {
  EXPECT_EQ(smol().vocab_size(), 49152);
  EXPECT_EQ(smol().bos_token_id(), 1);
  EXPECT_EQ(smol().eos_token_id(), 2);
  EXPECT_EQ(smol().pad_token_id(), 2);
  EXPECT_TRUE(smol().is_special(16));
  EXPECT_FALSE(smol().is_special(17));
  EXPECT_EQ(smol().token_id("<|endoftext|>"), 0);
  EXPECT_EQ(smol().token_bytes(*smol().token_id("\xC4\xA0the")), " the");
  EXPECT_EQ(smol().token_id("no such token"), std::nullopt);
  EXPECT_TRUE(smol().chat_template().starts_with("{% for message in messages %}"));
}

TEST(Tokenizer, IdsPastTheVocabularyHaveNoText) {
  for (const int64_t id : {int64_t{49152}, INT64_MAX}) {
    EXPECT_EQ(smol().decode(std::vector<int64_t>{28, id, 28}), smol().decode({{28, 28}}));
    EXPECT_EQ(smol().token_bytes(id), "");
    EXPECT_FALSE(smol().is_special(id));
    EXPECT_EQ(StreamDecoder(smol(), true).push(id), "");
  }
}

TEST(Tokenizer, NegativeIdsAreAnError) {
  for (const int64_t id : {int64_t{-1}, INT64_MIN}) {
    EXPECT_THROW(smol().decode(std::vector<int64_t>{1, id}), c10::Error);
    EXPECT_THROW(smol().token_bytes(id), c10::Error);
    EXPECT_THROW(smol().is_special(id), c10::Error);
    EXPECT_THROW(StreamDecoder(smol(), true).push(id), c10::Error);
  }
}

double seconds_to_encode(const std::string& text) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(smol().decode(smol().encode(text)), text);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Words without a place to cut. Merging pair by pair over the whole word each time would take
// minutes for these.
TEST(Tokenizer, LongWordsTakeNoQuadraticTime) {
  std::mt19937 random(4);
  std::string letters, same(400'000, 'a'), spaces(400'000, ' '), marks(200'000, '=');
  for (int i = 0; i < 400'000; ++i) letters += static_cast<char>('a' + random() % 26);
  for (const std::string& text : {letters, same, spaces, marks}) {
    EXPECT_LT(seconds_to_encode(text), 10.0);
  }
  std::string cjk;
  for (int i = 0; i < 100'000; ++i) cjk += utf8(0x4E00 + random() % 0x5000);
  EXPECT_LT(seconds_to_encode(cjk), 10.0);
}

// The oracle of the heap: always merge the best pair, leftmost first, by looking at all of them.
TEST(Tokenizer, MergesTakeTheBestPairFirst) {
  const auto json = tiny_json();
  std::map<std::pair<std::string, std::string>, size_t> ranks;
  for (const auto& merge : json["model"]["merges"]) {
    ranks.emplace(std::pair{merge[0].get<std::string>(), merge[1].get<std::string>()},
                  ranks.size());
  }
  const Tokenizer tiny = load_text(json.dump());
  std::mt19937 random(5);
  for (int i = 0; i < 2000; ++i) {
    std::vector<std::string> symbols;
    std::string word;
    const size_t length = 1 + random() % 40;
    for (size_t k = 0; k < length; ++k) {
      symbols.emplace_back(1, "aeinorstlhd"[random() % 11]);
      word += symbols.back();
    }
    while (true) {
      size_t best = SIZE_MAX, best_rank = SIZE_MAX;
      for (size_t k = 0; k + 1 < symbols.size(); ++k) {
        const auto found = ranks.find({symbols[k], symbols[k + 1]});
        if (found != ranks.end() && found->second < best_rank) {
          best = k;
          best_rank = found->second;
        }
      }
      if (best == SIZE_MAX) break;
      symbols[best] += symbols[best + 1];
      symbols.erase(symbols.begin() + static_cast<int64_t>(best) + 1);
    }
    std::vector<int64_t> expected;
    for (const std::string& symbol : symbols) expected.push_back(*tiny.token_id(symbol));
    EXPECT_EQ(tiny.encode(word), expected) << word;
  }
}

TEST(Tokenizer, FolderFilesNameSpecialTokensAndTheTemplate) {
  const Tokenizer tokenizer = load_patched(
      nlohmann::json::object(),
      R"({"bos_token": "<|user|>", "eos_token": {"content": "<|end|>"}, "pad_token": null,
              "chat_template": [{"name": "tools", "template": "x"},
                                {"name": "default", "template": "y"}],
              "added_tokens_decoder": {"0": {"content": "<|end|>"},
                                       "500": {"content": "<new>", "special": true}}})");
  EXPECT_EQ(tokenizer.bos_token_id(), 1);
  EXPECT_EQ(tokenizer.eos_token_id(), 0);
  EXPECT_EQ(tokenizer.pad_token_id(), std::nullopt);
  EXPECT_EQ(tokenizer.chat_template(), "y");
  EXPECT_EQ(tokenizer.vocab_size(), 501);
  EXPECT_EQ(tokenizer.encode("<new>"), (std::vector<int64_t>{500}));
  EXPECT_TRUE(tokenizer.is_special(500));

  const ScratchFolder folder;
  write_text(folder / "tokenizer.json", tiny_json().dump());
  write_text(folder / "special_tokens_map.json", R"({"eos_token": "<|end|>"})");
  write_text(folder / "chat_template.jinja", "{{ x }}\n");
  const Tokenizer other = Tokenizer::load(folder.path());
  EXPECT_EQ(other.eos_token_id(), 0);
  EXPECT_EQ(other.chat_template(), "{{ x }}\n");
}

TEST(Tokenizer, AVeryLongChatTemplateIsRefused) {
  const std::string most(size_t{1} << 20, 'x');
  const ScratchFolder folder;
  const auto error = [&] { return format_error([&] { Tokenizer::load(folder.path()); }); };
  write_text(folder / "tokenizer.json", tiny_json().dump());
  write_text(folder / "chat_template.jinja", most);
  EXPECT_EQ(error(), "");
  write_text(folder / "chat_template.jinja", most + "x");
  EXPECT_NE(error().find("its chat template has 1048577 bytes"), std::string::npos);
  std::filesystem::remove(folder / "chat_template.jinja");
  write_text(folder / "tokenizer_config.json",
             nlohmann::json{{"chat_template", most + "xx"}}.dump());
  EXPECT_NE(error().find("its chat template has 1048578 bytes"), std::string::npos);
}

TEST(Tokenizer, IdsWithoutATokenAreHolesWithoutText) {
  nlohmann::json json = tiny_json();
  json["added_tokens"].push_back({{"id", 510}, {"content", "<far>"}, {"special", true}});
  const Tokenizer tokenizer = load_text(json.dump());
  EXPECT_EQ(tokenizer.vocab_size(), 511);
  EXPECT_EQ(tokenizer.encode("<far>"), (std::vector<int64_t>{510}));
  EXPECT_EQ(tokenizer.decode(std::vector<int64_t>{505}), "");
  EXPECT_TRUE(same_vocabulary(tokenizer, tokenizer));
  EXPECT_FALSE(same_vocabulary(tokenizer, load_text(tiny_json().dump())));
}

TEST(Tokenizer, GgufAddsBosAndEosWhenItSaysSo) {
  TinyGguf gguf;
  gguf.more.add("tokenizer.ggml.bos_token_id", uint32_t{1});
  gguf.more.add("tokenizer.ggml.eos_token_id", uint32_t{0});
  gguf.more.add("tokenizer.ggml.add_bos_token", true);
  gguf.more.add("tokenizer.ggml.add_eos_token", true);
  const Tokenizer tokenizer = gguf.load();
  const auto ids = tokenizer.encode_with_special("");
  EXPECT_EQ(ids, (std::vector<int64_t>{1, 0}));
  EXPECT_TRUE(tokenizer.encode("").empty());

  TinyGguf llama3;  // adds BOS unless the file says otherwise
  llama3.pre = "llama-bpe";
  llama3.more.add("tokenizer.ggml.bos_token_id", uint32_t{1});
  EXPECT_EQ(llama3.load().encode_with_special(""), (std::vector<int64_t>{1}));
}

TEST(Tokenizer, GgufUserDefinedTokensAreFoundButNotSpecial) {
  TinyGguf gguf;
  gguf.tokens.push_back("<think>");
  gguf.types.push_back(4);
  gguf.tokens.push_back("<unused>");
  gguf.types.push_back(5);
  const Tokenizer tokenizer = gguf.load();
  const std::vector<int64_t> think{static_cast<int64_t>(gguf.tokens.size()) - 2};
  EXPECT_EQ(tokenizer.encode("<think>"), think);
  EXPECT_FALSE(tokenizer.is_special(think[0]));
  EXPECT_EQ(tokenizer.decode(think, /*skip_special=*/true), "<think>");
  EXPECT_GT(tokenizer.encode("<unused>").size(), 1U);
}

TEST(Utf8, NormalisationFormC) {
  EXPECT_EQ(normalize_nfc("plain"), "plain");
  EXPECT_EQ(normalize_nfc(""), "");
  EXPECT_EQ(normalize_nfc("e\xcc\x81"), "\xc3\xa9");  // e and acute
  // Marks are ordered by class (dot below before acute), equal classes stay as they are.
  EXPECT_EQ(normalize_nfc("q\xcc\x81\xcc\xa3"), "q\xcc\xa3\xcc\x81");
  EXPECT_EQ(normalize_nfc("q\xcc\x81\xcc\x88"), "q\xcc\x81\xcc\x88");
  EXPECT_EQ(normalize_nfc("e\xcc\x81\xcc\xa3"), "\xe1\xba\xb9\xcc\x81");
  EXPECT_EQ(normalize_nfc("\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8"), "\xea\xb0\x81");  // Hangul
  EXPECT_EQ(normalize_nfc("\xe2\x84\xab"), "\xc3\x85");  // the Angstrom sign is a letter
}

TEST(Tokenizer, GgufNamesNoTokenByMinusOne) {
  TinyGguf gguf;
  gguf.more.add("tokenizer.ggml.padding_token_id", uint32_t{0xffffffff});
  EXPECT_EQ(gguf.load().pad_token_id(), std::nullopt);
}

}  // namespace
}  // namespace leash::testing

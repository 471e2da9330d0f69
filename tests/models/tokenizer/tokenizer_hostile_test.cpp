// Damaged, lying and unsupported tokenizer files: a FormatError that names the trouble, never a
// crash.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <nlohmann/json.hpp>

#include "models/text/regex_split.h"
#include "models/tokenizer/tokenizer.h"
#include "tests/models/tokenizer/tiny.h"
#include "tests/support/files.h"

namespace leash::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

std::string load_error(const json& document) {
  return format_error([&] { load_text(document.dump()); });
}

std::string patched_error(const char* patch) {
  return format_error([&] { load_patched(json::parse(patch)); });
}

std::string with_config(const char* config) {
  return format_error([&] { load_patched(json::object(), config); });
}

TEST(TokenizerHostile, TruncatedJsonAtEveryLength) {
  const std::string whole = tiny_json().dump();
  for (size_t size = 0; size < whole.size(); size += size < 200 ? 1 : 997) {
    EXPECT_NE(format_error([&] { load_text(whole.substr(0, size)); }), "") << size;
  }
  EXPECT_EQ(format_error([&] { load_text(whole); }), "");
}

TEST(TokenizerHostile, MissingFiles) {
  const ScratchFolder folder;
  EXPECT_THAT(format_error([&] { Tokenizer::load(folder.path()); }), HasSubstr("tokenizer.json"));
  EXPECT_THAT(format_error([&] { Tokenizer::load(folder / "x.gguf"); }), HasSubstr("no such file"));
  write_text(folder / "x.gguf", "GG");
  EXPECT_THAT(format_error([&] { Tokenizer::load(folder / "x.gguf"); }), HasSubstr("neither"));
}

TEST(TokenizerHostile, KindsThatAreNotSupportedAreNamed) {
  EXPECT_THAT(patched_error(R"({"model": {"type": "Gram"}})"), HasSubstr("'Gram'"));
  EXPECT_THAT(patched_error(R"({"model": {"dropout": 0.1}})"), HasSubstr("dropout"));
  EXPECT_THAT(patched_error(R"({"normalizer": {"type": "NFX"}})"), HasSubstr("normalizer 'NFX'"));
  EXPECT_THAT(
      patched_error(R"({"normalizer": {"type": "Sequence", "normalizers": [{"type": "Fold"}]}})"),
      HasSubstr("'Fold'"));
  EXPECT_THAT(patched_error(R"({"pre_tokenizer": {"type": "UnicodeScripts"}})"),
              HasSubstr("pre_tokenizer 'UnicodeScripts'"));
  EXPECT_THAT(patched_error(R"({"pre_tokenizer": {"type": "Metaspace"}})"),
              HasSubstr("replacement"));
  EXPECT_THAT(patched_error(R"({"pre_tokenizer": {"type": "Metaspace", "replacement": "_",
                          "prepend_scheme": "last"}})"),
              HasSubstr("'last'"));
  EXPECT_THAT(patched_error(R"({"post_processor": {"type": "Pairs"}})"), HasSubstr("'Pairs'"));
  EXPECT_THAT(patched_error(R"({"post_processor": {"type": "BertProcessing"}})"),
              HasSubstr("'cls'"));
  EXPECT_THAT(patched_error(R"({"decoder": {"type": "CTC"}})"), HasSubstr("decoder 'CTC'"));
  EXPECT_EQ(patched_error(R"({"model": {"dropout": 0.0}, "decoder": null})"), "");
}

TEST(TokenizerHostile, ModelsThatCannotBe) {
  const auto unigram = [](const char* vocab, const char* more = "") {
    return patched_error(
        (std::string(R"({"model": {"type": "Unigram", "merges": null, "vocab": )") + vocab + more +
         "}}")
            .c_str());
  };
  EXPECT_THAT(unigram("[]"), HasSubstr("no array of tokens"));
  EXPECT_THAT(unigram(R"([["a", "b"]])"), HasSubstr("entry 0"));
  EXPECT_THAT(unigram(R"([["a", -1], ["a", -2]])"), HasSubstr("twice"));
  EXPECT_THAT(unigram(R"([["a", -1]])", R"(, "unk_id": 1)"), HasSubstr("unk_id"));
  const std::string longest = R"([[")" + std::string(5000, 'a') + R"(", -1]])";
  EXPECT_THAT(unigram(longest.c_str()), HasSubstr("5000 bytes"));
  EXPECT_THAT(patched_error(R"({"model": {"type": "WordPiece"}})"), HasSubstr("unk_token"));
  EXPECT_THAT(
      patched_error(R"({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}})"),
      HasSubstr("precompiled_charsmap"));
  EXPECT_THAT(
      patched_error(R"({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "!"}})"),
      HasSubstr("base 64"));
}

TEST(TokenizerHostile, ComponentsOfAnotherShape) {
  for (
      const char* patch :
      {R"({"model": null})",
       R"({"model": 3})",
       R"({"model": {"vocab": null}})",
       R"({"model": {"vocab": []}})",
       R"({"model": {"merges": {}}})",
       R"({"model": {"merges": 1}})",
       R"({"model": {"ignore_merges": 1}})",
       R"({"model": {"unk_token": 1}})",
       R"({"model": {"unk_token": "no such"}})",
       R"({"added_tokens": {}})",
       R"({"added_tokens": [3]})",
       R"({"added_tokens": [{}]})",
       R"({"added_tokens": [{"id": 0, "content": "<|end|>", "special": "yes"}]})",
       R"({"normalizer": []})",
       R"({"normalizer": {"type": "Sequence"}})",
       R"({"normalizer": {"type": "Sequence", "normalizers": [3]}})",
       R"({"pre_tokenizer": "x"})",
       R"({"pre_tokenizer": {"type": "Split"}})",
       R"({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"}})",
       R"({"pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "x"}})",
       R"({"post_processor": {"type": "TemplateProcessing"}})",
       R"({"post_processor": {"type": "TemplateProcessing", "single": [3]}})",
       R"({"post_processor": {"type": "TemplateProcessing", "single": []}})",
       R"({"post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "x"}}, {"Sequence": {"id": "A"}}]}})",
       R"({"post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "x"}}, {"Sequence": {"id": "A"}}],
            "special_tokens": {"x": {"ids": [99999]}}}})",
       R"({"post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "x"}}, {"Sequence": {"id": "A"}}],
            "special_tokens": {"x": {"ids": [-1]}}}})"}) {
    EXPECT_NE(patched_error(patch), "") << patch;
  }
  for (const char* text : {"[]", "3", "null", "{}", "\"x\"", "[[[[[[", "{\"a\": \"\xFF\"}"}) {
    EXPECT_NE(format_error([&] { load_text(text); }), "") << text;
  }
  const std::string deep(100'000, '[');
  EXPECT_NE(format_error([&] { load_text(deep); }), "");
}

TEST(TokenizerHostile, MergesOfUnknownTokens) {
  for (const char* merge :
       {R"(["a", "no such"])", R"(["no such", "a"])", R"(["\u0120th", "\u0120th"])", R"("a")",
        R"("a b c")", R"([])", R"(["a"])", R"(["a", 3])", R"(7)"}) {
    json document = tiny_json();
    document["model"]["merges"].push_back(json::parse(merge));
    EXPECT_THAT(load_error(document), HasSubstr("merge")) << merge;
  }
  json twice = tiny_json();
  twice["model"]["merges"].push_back(twice["model"]["merges"][0]);
  EXPECT_THAT(load_error(twice), HasSubstr("twice"));
}

TEST(TokenizerHostile, IdsOutOfRangeOrDuplicated) {
  for (const char* id : {"-1", "4194304", "4294967296", "18446744073709551615", "1e3", "1.5",
                         "\"1\"", "null", "true", "[]"}) {
    json document = tiny_json();
    document["model"]["vocab"]["new"] = json::parse(id);
    EXPECT_THAT(load_error(document), HasSubstr("new")) << id;
    document = tiny_json();
    document["added_tokens"][0]["id"] = json::parse(id);
    EXPECT_NE(load_error(document), "") << id;
  }
  json document = tiny_json();
  document["model"]["vocab"]["new"] = 7;
  EXPECT_THAT(load_error(document), HasSubstr("both have the id 7"));
  document = tiny_json();
  document["added_tokens"][1]["id"] = 0;
  EXPECT_NE(load_error(document), "");
  document = tiny_json();
  document["added_tokens"].push_back({{"id", 700}, {"content", "<|end|>"}});
  EXPECT_THAT(load_error(document), HasSubstr("twice"));
  document = tiny_json();
  document["added_tokens"].push_back({{"id", 9}, {"content", "new"}});
  EXPECT_THAT(load_error(document), HasSubstr("'new'"));
  document = tiny_json();
  document["added_tokens"].push_back({{"id", 700}, {"content", ""}});
  EXPECT_THAT(load_error(document), HasSubstr("empty"));
}

// As Hugging Face does it.
TEST(TokenizerHostile, BytesWithoutATokenAreLeftOut) {
  json document = tiny_json();
  document["model"]["merges"] = json::array();
  document["model"]["vocab"].erase("e");
  EXPECT_EQ(load_text(document.dump()).encode("hey").size(), 2U);
}

TEST(TokenizerHostile, IdsWithLargeGapsTakeLittleMemory) {
  json document = tiny_json();
  document["added_tokens"].push_back({{"id", 4'194'303}, {"content", "<far>"}, {"special", true}});
  const Tokenizer tokenizer = load_text(document.dump());
  EXPECT_EQ(tokenizer.vocab_size(), 4'194'304);
  EXPECT_EQ(tokenizer.encode("<far>"), (std::vector<int64_t>{4'194'303}));
  EXPECT_EQ(tokenizer.token_bytes(4'000'000), "");
}

TEST(TokenizerHostile, TokenizerConfig) {
  EXPECT_THAT(with_config(R"({"eos_token": "<no such>"})"), HasSubstr("<no such>"));
  EXPECT_THAT(with_config(R"({"eos_token": 3})"), HasSubstr("eos_token"));
  EXPECT_THAT(with_config(R"({"chat_template": 3})"), HasSubstr("chat_template"));
  EXPECT_THAT(with_config(R"({"added_tokens_decoder": []})"), HasSubstr("added_tokens_decoder"));
  EXPECT_THAT(with_config(R"({"added_tokens_decoder": {"x": {"content": "y"}}})"),
              HasSubstr("'x'"));
  EXPECT_THAT(with_config(R"({"added_tokens_decoder": {"-5": {"content": "y"}}})"),
              HasSubstr("'-5'"));
  EXPECT_NE(with_config("{"), "");
}

TEST(TokenizerHostile, GgufWithoutAUsableVocabulary) {
  const auto change = [](auto&& edit) {
    return format_error([&] {
      TinyGguf gguf;
      edit(gguf);
      gguf.load();
    });
  };
  EXPECT_EQ(change([](TinyGguf&) {}), "");
  EXPECT_THAT(change([](TinyGguf& g) { g.model = "rwkv"; }), HasSubstr("'rwkv'"));
  EXPECT_THAT(change([](TinyGguf& g) { g.model = "llama"; }), HasSubstr("scores has 0 entries"));
  EXPECT_THAT(change([](TinyGguf& g) { g.pre = "hybriddna"; }), HasSubstr("'hybriddna'"));
  EXPECT_THAT(change([](TinyGguf& g) { g.tokens.clear(); }), HasSubstr("tokens"));
  EXPECT_THAT(change([](TinyGguf& g) { g.merges.clear(); }), HasSubstr("merges"));
  EXPECT_THAT(change([](TinyGguf& g) { g.types.pop_back(); }), HasSubstr("token_type"));
  EXPECT_THAT(change([](TinyGguf& g) { g.tokens[40] = g.tokens[41]; }), HasSubstr("twice"));
  EXPECT_THAT(change([](TinyGguf& g) { g.tokens[499] = ""; }), HasSubstr("empty"));
  EXPECT_THAT(change([](TinyGguf& g) { g.tokens[400] = "other"; }), HasSubstr("merge"));
  EXPECT_THAT(change([](TinyGguf& g) { g.merges[3] = "a"; }), HasSubstr("no pair"));
  EXPECT_THAT(change([](TinyGguf& g) { g.merges[3] = "a b c"; }), HasSubstr("no pair"));
  EXPECT_THAT(change([](TinyGguf& g) { g.merges[3] = g.merges[2]; }), HasSubstr("twice"));
  for (const char* key : {"bos_token_id", "eos_token_id", "padding_token_id"}) {
    EXPECT_THAT(change([&](TinyGguf& g) {
                  g.more.add(std::string("tokenizer.ggml.") + key, uint32_t{500});
                }),
                HasSubstr(key));
  }
  EXPECT_THAT(change([](TinyGguf& g) { g.more.add("tokenizer.ggml.add_bos_token", true); }),
              HasSubstr("BOS"));
  EXPECT_NE(change([](TinyGguf& g) { g.more.add("tokenizer.chat_template", uint32_t{5}); }), "");
}

TEST(TokenizerHostile, TruncatedGguf) {
  TinyGguf gguf;
  gguf.more.add("tokenizer.ggml.model", gguf.model);
  gguf.more.add("tokenizer.ggml.tokens", gguf.tokens);
  gguf.more.add("tokenizer.ggml.merges", gguf.merges);
  const std::string whole = gguf.more.bytes();
  const ScratchFolder folder;
  for (size_t size = 0; size + 64 < whole.size(); size += size < 200 ? 1 : 101) {
    write_text(folder / "x.gguf", whole.substr(0, size));
    EXPECT_NE(format_error([&] { Tokenizer::load(folder / "x.gguf"); }), "") << size;
  }
}

// transformers' Llama classes put their own template in the place of the post_processor.
TEST(TokenizerHostile, SettingsOfBosAndEosAreObeyedOrAgreedOn) {
  const char* const names = R"("bos_token": "<|user|>", "eos_token": "<|end|>")";
  const auto ids = [&](const std::string& config) {
    return load_patched(json::object(), "{" + std::string(names) + config + "}")
        .encode_with_special("a");
  };
  const auto error = [&](const std::string& config) { return format_error([&] { ids(config); }); };
  const std::vector<int64_t> plain = ids("");
  const std::string llama = R"(, "tokenizer_class": "LlamaTokenizerFast")";
  std::vector<int64_t> with_bos = plain, with_both = plain;
  with_bos.insert(with_bos.begin(), 1);
  with_both = with_bos;
  with_both.push_back(0);
  EXPECT_EQ(ids(llama), plain);
  EXPECT_EQ(ids(llama + R"(, "add_bos_token": true)"), with_bos);
  EXPECT_EQ(ids(llama + R"(, "add_bos_token": false)"), plain);
  EXPECT_EQ(ids(llama + R"(, "add_eos_token": true)"), with_both);
  const std::string other = R"(, "tokenizer_class": "PreTrainedTokenizerFast")";
  EXPECT_EQ(ids(other + R"(, "add_bos_token": false, "add_eos_token": false)"), plain);
  EXPECT_THAT(error(other + R"(, "add_bos_token": true)"),
              HasSubstr("add_bos_token: true, but the post_processor of tokenizer.json does not"));
  EXPECT_THAT(error(R"(, "add_eos_token": true)"), HasSubstr("add_eos_token: true"));
}

class Quickly : public ::testing::Test {
 protected:
  ~Quickly() override { EXPECT_LT(std::clock() - start_, 2 * CLOCKS_PER_SEC); }
  const std::clock_t start_ = std::clock();  // of this process
};
using TokenizerHostileQuickly = Quickly;

TEST_F(TokenizerHostileQuickly, CombiningMarks) {
  const Tokenizer tokenizer = load_patched(json::parse(R"({"normalizer": {"type": "NFC"}})"));
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += "\xcc\x81\xcc\xa3";  // above, below
  EXPECT_GE(tokenizer.encode("e" + text).size(), 100'000u);
}

TEST_F(TokenizerHostileQuickly, TokensThatTakeWhiteSpaceAround) {
  for (const char* side : {"lstrip", "rstrip"}) {
    json document = tiny_json();
    document["added_tokens"].push_back({{"id", 600}, {"content", " "}, {side, true}});
    document["added_tokens"].push_back({{"id", 601}, {"content", "<s>"}, {"lstrip", true}});
    const Tokenizer tokenizer = load_text(document.dump());
    EXPECT_GE(tokenizer.encode(std::string(80'000, ' ') + "<s>").size(), 1u);
  }
}

TEST_F(TokenizerHostileQuickly, BacktrackingEndsInARefusal) {
  const Regex regex("(?:a|a)+(?=[0-9])");
  const std::string text = std::string(16'384, 'a') + " 1";
  EXPECT_THAT(format_error([&] { Regex::Matches(regex, text).next(); }),
              HasSubstr("'(?:a|a)+(?=[0-9])' failed"));
}

}  // namespace
}  // namespace leash::testing

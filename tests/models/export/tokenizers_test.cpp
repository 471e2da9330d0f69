// Tokenizers said in the other format: the ids stay the same, or the tokenizer is refused.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "models/errors.h"
#include "models/export/gguf_tokenizer.h"
#include "models/export/hf_tokenizer.h"
#include "models/export/pre_tokenizers.h"
#include "models/tokenizer/gguf_pre_tokenizers.h"
#include "models/tokenizer/tokenizer.h"
#include "tests/support/files.h"

namespace leash::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

fs::path golden_kind(const std::string& name) {
  return repository("tests/golden/tokenizers/" + name);
}

// A folder's tokenizer as a GGUF that has nothing else.
fs::path vocabulary_gguf(const fs::path& folder, const ScratchFolder& out) {
  DecoderConfig config;
  config.vocab_size = Tokenizer::load(folder).vocab_size() + 3;
  GgufWriter writer;
  writer.string("general.architecture", "llama");
  set_gguf_tokenizer(folder, config, writer);
  writer.write(out.path() / "vocabulary.gguf");
  return out.path() / "vocabulary.gguf";
}

TEST(ExportedTokenizer, SentencePieceOfAGguf) {
  const ScratchFolder out;
  write_hf_tokenizer(out.path(), golden_kind("gguf_llama") / "tiny.gguf");
  EXPECT_NO_THROW(require_same_ids(golden_kind("gguf_llama") / "tiny.gguf", out.path()));
  const Tokenizer read = Tokenizer::load(out.path());
  EXPECT_TRUE(same_vocabulary(Tokenizer::load(golden_kind("gguf_llama") / "tiny.gguf"), read));
}

TEST(ExportedTokenizer, KindsOfOtherModelsAreRefused) {
  const ScratchFolder out;
  EXPECT_THROW(write_hf_tokenizer(out.path(), golden_kind("gguf_bert") / "tiny.gguf"), FormatError);
}

TEST(ExportedTokenizer, UnigramOfAFolder) {
  const ScratchFolder out;
  const fs::path file = vocabulary_gguf(golden_kind("t5"), out);
  EXPECT_NO_THROW(require_same_ids(golden_kind("t5"), file));
}

TEST(ExportedTokenizer, WordPieceOfAFolderIsRefused) {
  const ScratchFolder out;
  EXPECT_THROW(vocabulary_gguf(golden_kind("bert"), out), FormatError);
}

// What a name stands for is found again by how it splits: the same name, or one of the same rules.
TEST(ExportedTokenizer, EveryPreTokenizerIsSaidAndFound) {
  int64_t said = 0;
  for (const std::string& name : distinct_pre_tokenizers()) {
    const NamedPreTokenizer named = named_pre_tokenizer(name);
    if (named.raw) {
      EXPECT_THROW(pre_tokenizer_steps(name), FormatError) << name;
      continue;
    }
    json tokenizer = {{"pre_tokenizer", json(pre_tokenizer_steps(name))},
                      {"model", {{"ignore_merges", named.ignore_merges}}}};
    if (named.nfc) tokenizer["normalizer"] = {{"type", "NFC"}};
    const auto found = pre_tokenizer_of(tokenizer);
    ASSERT_TRUE(found.has_value()) << name;
    const NamedPreTokenizer again = named_pre_tokenizer(*found);
    EXPECT_EQ(again.ignore_merges, named.ignore_merges) << name << ", " << *found;
    if (*found != name) {
      EXPECT_EQ(again.expressions, named.expressions) << name << ", " << *found;
    }
    ++said;
  }
  EXPECT_GE(said, 30);
}

TEST(ExportedTokenizer, UnknownSplitsAreRefused) {
  const json tokenizer = {
      {"pre_tokenizer",
       {{"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Split"}, {"pattern", {{"Regex", "q"}}}, {"behavior", "Isolated"}},
          {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}}}}},
      {"model", {{"ignore_merges", false}}}};
  EXPECT_FALSE(pre_tokenizer_of(tokenizer).has_value());
}

}  // namespace
}  // namespace leash::testing

// SentencePiece's .model files: what is read, and that damaged ones are refused.
#include "models/tokenizer/sentence_piece_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/errors.h"
#include "models/tokenizer/tokenizer.h"
#include "tests/models/tokenizer/tiny.h"
#include "tests/support/files.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

std::string model_bytes(const std::string& name) {
  return read_text(repository("tests/golden/tokenizers/" + name + "/tokenizer.model"));
}

std::string parse_error(const std::string& bytes) {
  return format_error([&] { parse_sentence_piece(bytes); });
}

TEST(SentencePieceFile, ReadsWhatTheTrainerWrote) {
  const SentencePieceFile file = parse_sentence_piece(model_bytes("sp_bpe_bytes"));
  EXPECT_EQ(file.model_type, SentencePieceFile::ModelType::bpe);
  EXPECT_TRUE(file.byte_fallback);
  EXPECT_FALSE(file.remove_extra_whitespaces);
  EXPECT_TRUE(file.add_dummy_prefix);
  EXPECT_EQ(file.pieces[0].type, SentencePieceFile::PieceType::unknown);
  EXPECT_EQ(file.pieces[3].text, "<0x00>");
  EXPECT_EQ(file.pad_id, -1);
  EXPECT_FALSE(parse_sentence_piece(model_bytes("sp_unigram")).charsmap.empty());
}

TEST(SentencePieceFile, DamagedOnesAreRefusedOrRead) {
  const std::string whole = model_bytes("sp_unigram");
  for (size_t size = 0; size < whole.size(); size += 7) parse_error(whole.substr(0, size));
  for (size_t at = 0; at < whole.size(); at += 3) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x9F);
    parse_error(damaged);
  }
  EXPECT_THAT(parse_error(""), HasSubstr("no pieces"));
  EXPECT_THAT(parse_error("\x0A\x7F"), HasSubstr("cut off before byte 2"));
  EXPECT_THAT(parse_error(std::string("\x0A\x02\x0A\x00", 4)), HasSubstr("empty piece"));
  EXPECT_THAT(parse_error(std::string(12, '\xFF')), HasSubstr("more than ten bytes"));
}

TEST(SentencePieceFile, SettingsBesideIt) {
  const ScratchFolder folder;
  write_text(folder / "tokenizer.model", model_bytes("sp_bpe_bytes"));
  const auto with = [&](const std::string& config) {
    write_text(folder / "tokenizer_config.json", config);
    return Tokenizer::load(folder.path());
  };
  EXPECT_EQ(with("{}").encode_with_special("a")[0], 1);
  EXPECT_NE(with(R"({"tokenizer_class": "LlamaTokenizer", "add_bos_token": false})")
                .encode_with_special("a")[0],
            1);
  const auto both = with(R"({"tokenizer_class": "LlamaTokenizer", "add_eos_token": true})")
                        .encode_with_special("a");
  EXPECT_EQ(both.front(), 1);
  EXPECT_EQ(both.back(), 2);
  const Tokenizer added =
      with(R"({"added_tokens_decoder": {"700": {"content": "<new>", "special": true}}})");
  EXPECT_EQ(added.encode("<new>"), (std::vector<int64_t>{700}));
  // A space in front of every part, or of the text alone.
  const auto legacy = with("{}").encode("</s>a");
  const auto modern = with(R"({"legacy": false})").encode("</s>a");
  EXPECT_NE(legacy, modern);
  EXPECT_EQ(with(R"({"legacy": false})").encode("a"), with("{}").encode("a"));
  EXPECT_THAT(format_error([&] { with(R"({"tokenizer_class": "XLMRobertaTokenizer"})"); }),
              HasSubstr("XLMRobertaTokenizer"));
}

}  // namespace
}  // namespace leash::testing

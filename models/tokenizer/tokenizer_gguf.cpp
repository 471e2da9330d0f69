// The vocabulary that a GGUF file carries in its metadata, whatever its architecture: one function
// for each kind that tokenizer.ggml.model names (llama.cpp: llama-vocab.cpp).
#include <fmt/core.h>

#include <string>
#include <utility>
#include <vector>

#include "models/errors.h"
#include "models/io/gguf.h"
#include "models/subwords/byte_level_bpe.h"
#include "models/subwords/character_bpe.h"
#include "models/subwords/scored_bpe.h"
#include "models/subwords/sentence_piece_rules.h"
#include "models/subwords/unigram.h"
#include "models/subwords/word_piece.h"
#include "models/text/byte_alphabet.h"
#include "models/tokenizer/gguf_pre_tokenizers.h"
#include "models/tokenizer/gguf_vocabulary.h"
#include "models/tokenizer/tokenizer_parts.h"

namespace leash {
namespace {

constexpr const char* kSpace = "\xE2\x96\x81";  // U+2581, which stands for a space

MergeList read_gguf_merges(const GgufFile& file) {
  auto lines = file.strings("tokenizer.ggml.merges");
  if (!lines) throw FormatError("it holds no tokenizer.ggml.merges");
  MergeList merges;
  merges.reserve(lines->size());
  for (const std::string& line : *lines) {
    const size_t space = line.find(' ', 1);
    if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos) {
      throw FormatError(fmt::format("tokenizer.ggml.merges: entry {} ('{}') is no pair of tokens",
                                    merges.size(), line));
    }
    merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return merges;
}

// The text of SentencePiece's tokens; the space that it put in front is gone again.
TextDecoder sentence_piece_decoder(bool strip) {
  TextDecoder decoder;
  decoder.add(decoders::replace(Regex::literal(kSpace), " "));
  decoder.add(decoders::byte_fallback());
  decoder.set_fused();
  if (strip) decoder.add(decoders::strip_whole(" ", 1, 0));
  return decoder;
}

// Byte-level BPE, or one over characters (Gemma 4).
void read_ranked_bpe(const GgufVocabulary& read, const std::string& pre, TokenizerParts& parts) {
  NamedPreTokenizer named = named_pre_tokenizer(pre);
  const MergeList merges = read_gguf_merges(read.file());
  if (named.nfc) parts.normalizer.add(normalizers::unicode(UnicodeForm::nfc));
  if (named.escape_spaces) {
    parts.normalizer.add(normalizers::replace(Regex::literal(" "), kSpace));
  }
  parts.pre_tokenizer = std::move(named.pre_tokenizer);
  if (named.raw) {
    parts.model = std::make_unique<CharacterBpe>(
        parts.vocabulary, merges,
        CharacterBpeOptions{.ignore_merges = named.ignore_merges,
                            .byte_fallback = true,
                            .whole_line_breaks = named.escape_spaces});
    parts.decoder = sentence_piece_decoder(/*strip=*/false);
  } else {
    parts.model = std::make_unique<ByteLevelBpe>(parts.vocabulary, merges,
                                                 ByteLevelBpeOptions{named.ignore_merges});
    parts.decoder.add(decoders::byte_level());
  }
  set_added_tokens(parts, read.added_tokens());
  if (!named.raw) {  // these are text, whatever the decoder makes of the others
    for (const AddedToken& token : read.added_tokens()) {
      parts.vocabulary.find(token.id)->decoded = spelling_of_bytes(token.content);
    }
  }
  // Gemma 4's files say that there is none, wrongly.
  const bool forced = named.raw && named.add_bos;
  read.set_surrounding(parts, {.bos = named.add_bos, .bos_always = forced});
}

// SentencePiece's BPE.
void read_scored_bpe(const GgufVocabulary& read, TokenizerParts& parts) {
  const bool prefix = read.flag("add_space_prefix", true);
  if (prefix) parts.normalizer.add(normalizers::prepend(" "));
  parts.normalizer.add(normalizers::replace(Regex::literal(" "), kSpace));
  const std::vector<float> scores = read.scores();
  std::vector<ScoredPiece> tokens;
  bool bytes = false;
  for (const VocabularyToken& token : parts.vocabulary.tokens()) {
    const GgufTokenType type = read.type(token.id);
    auto kind = ScoredPiece::Kind::normal;
    if (type == GgufTokenType::byte) kind = ScoredPiece::Kind::byte;
    if (type == GgufTokenType::control || type == GgufTokenType::unknown) {
      kind = ScoredPiece::Kind::other;
    }
    bytes = bytes || type == GgufTokenType::byte;
    tokens.push_back({token.spelling, scores[static_cast<size_t>(token.id)], token.id, kind});
  }
  parts.model = std::make_unique<ScoredBpe>(tokens, read.token_id("unknown_token_id", 0), bytes);
  parts.decoder = sentence_piece_decoder(prefix);
  set_added_tokens(parts, read.added_tokens());
  parts.bos = read.token_id("bos_token_id", 1);
  parts.eos = read.token_id("eos_token_id", 2);
  read.set_surrounding(parts, {.bos = true});
}

// SentencePiece's unigram model (T5).
void read_unigram(const GgufVocabulary& read, TokenizerParts& parts) {
  auto rules = std::make_shared<SentencePieceRules>();
  rules->add_dummy_prefix = read.flag("add_space_prefix", false);
  rules->remove_extra_whitespaces = read.flag("remove_extra_whitespaces", false);
  if (const std::string blob = read.bytes("precompiled_charsmap"); !blob.empty()) {
    rules->charsmap = std::make_shared<const Charsmap>(blob);
  }
  const std::vector<float> scores = read.scores();
  std::vector<UnigramToken> tokens;
  bool bytes = false;
  for (const VocabularyToken& token : parts.vocabulary.tokens()) {
    const GgufTokenType type = read.type(token.id);
    const bool control = type == GgufTokenType::control || type == GgufTokenType::unknown;
    bytes = bytes || type == GgufTokenType::byte;
    tokens.push_back({.spelling = token.spelling,
                      .score = scores[static_cast<size_t>(token.id)],
                      .id = token.id,
                      .findable = !control && type != GgufTokenType::byte,
                      .user_defined = type == GgufTokenType::user_defined});
  }
  parts.decoder = sentence_piece_decoder(rules->add_dummy_prefix);
  parts.normalizer.add(sentence_piece_step(std::move(rules)));
  parts.model = std::make_unique<Unigram>(
      tokens,
      UnigramOptions{.unknown = read.token_id("unknown_token_id", 2), .byte_fallback = bytes});
  set_added_tokens(parts, read.added_tokens());
  parts.eos = read.token_id("eos_token_id", 1);
  parts.pad = read.token_id("padding_token_id", 0);
  read.set_surrounding(parts, {.eos = true});
}

// BERT's WordPiece. llama.cpp's files mark the beginning of a word instead of its middle.
void read_word_piece(const GgufVocabulary& read, TokenizerParts& parts) {
  Vocabulary spelled;
  for (const VocabularyToken& token : parts.vocabulary.tokens()) {
    std::string spelling = token.spelling;
    if (read.type(token.id) == GgufTokenType::normal) {
      const bool first = spelling.starts_with(kSpace);
      spelling = first ? spelling.substr(std::string_view(kSpace).size()) : "##" + spelling;
    }
    spelled.add(std::move(spelling), token.id);
  }
  parts.vocabulary = std::move(spelled);
  normalizers::Bert bert;
  bert.lowercase = read.flag("normalizer.lowercase", true);
  bert.strip_accents = read.flag("normalizer.strip_accents", bert.lowercase);
  parts.normalizer.add(normalizers::bert(bert));
  parts.pre_tokenizer.add_split(pre_tokenizers::white_space());
  parts.pre_tokenizer.add_split(pre_tokenizers::punctuation(SplitBehavior::isolated));
  const auto unknown = read.token_id("unknown_token_id", 100);
  if (!unknown) throw FormatError("it names no unknown token");
  parts.model = std::make_unique<WordPiece>(parts.vocabulary, WordPieceOptions{*unknown});
  parts.decoder.add(decoders::word_piece("##", /*cleanup=*/true));
  std::vector<AddedToken> added = read.added_tokens();
  set_added_tokens(parts, std::move(added));
  parts.bos = read.token_id("bos_token_id", 101);
  parts.eos = read.token_id("seperator_token_id", 102);
  parts.pad = read.token_id("padding_token_id", 0);
  read.set_surrounding(parts, {.bos = true, .eos = true});
}

}  // namespace

TokenizerParts load_gguf_tokenizer(const std::filesystem::path& path) {
  const auto file = GgufFile::open(path);
  const std::string kind = file->string_value("tokenizer.ggml.model").value_or("");
  const std::string pre = file->string_value("tokenizer.ggml.pre").value_or("default");
  const GgufVocabulary read(*file);
  TokenizerParts parts;
  parts.vocabulary = read.vocabulary();
  if (kind == "gpt2") {
    read_ranked_bpe(read, pre, parts);
  } else if (kind == "gemma4") {
    read_ranked_bpe(read, kind, parts);
  } else if (kind == "llama") {
    read_scored_bpe(read, parts);
  } else if (kind == "t5") {
    read_unigram(read, parts);
  } else if (kind == "bert") {
    read_word_piece(read, parts);
  } else {
    throw FormatError(fmt::format(
        "tokenizer.ggml.model is '{}'; supported are gpt2, gemma4, llama, t5 and bert", kind));
  }
  parts.chat_template = file->string_value("tokenizer.chat_template").value_or("");
  return parts;
}

}  // namespace leash

// A folder with SentencePiece's tokenizer.model and no tokenizer.json.
#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "models/errors.h"
#include "models/subwords/scored_bpe.h"
#include "models/subwords/sentence_piece_rules.h"
#include "models/subwords/unigram.h"
#include "models/tokenizer/sentence_piece_file.h"
#include "models/tokenizer/tokenizer_config.h"
#include "models/tokenizer/tokenizer_parts.h"

namespace leash {
namespace {

using PieceType = SentencePieceFile::PieceType;

TokenTrie user_defined(const SentencePieceFile& file) {
  std::vector<TokenTrie::Entry> entries;
  for (size_t id = 0; id < file.pieces.size(); ++id) {
    if (file.pieces[id].type != PieceType::user_defined) continue;
    entries.push_back({file.pieces[id].text, static_cast<int32_t>(id)});
  }
  return TokenTrie(std::move(entries));
}

std::shared_ptr<const SentencePieceRules> rules_of(const SentencePieceFile& file, bool legacy) {
  auto rules = std::make_shared<SentencePieceRules>();
  if (!file.charsmap.empty()) rules->charsmap = std::make_shared<const Charsmap>(file.charsmap);
  rules->user_defined = user_defined(file);
  rules->add_dummy_prefix = file.add_dummy_prefix;
  rules->prefix_every_part = legacy;
  rules->remove_extra_whitespaces = file.remove_extra_whitespaces;
  rules->escape_whitespaces = file.escape_whitespaces;
  rules->whitespace_as_suffix = file.whitespace_as_suffix;
  return rules;
}

int64_t unknown_piece(const SentencePieceFile& file) {
  const auto found =
      std::ranges::find(file.pieces, PieceType::unknown, &SentencePieceFile::Piece::type);
  if (found == file.pieces.end()) throw FormatError("it has no unknown piece");
  return found - file.pieces.begin();
}

void require_bytes(const SentencePieceFile& file) {
  const auto bytes =
      std::ranges::count(file.pieces, PieceType::byte, &SentencePieceFile::Piece::type);
  if (file.byte_fallback ? bytes == 256 : bytes == 0) return;
  throw FormatError(fmt::format("it has {} pieces for bytes, but byte_fallback is {}", bytes,
                                file.byte_fallback));
}

std::unique_ptr<const TokenModel> unigram_of(const SentencePieceFile& file) {
  std::vector<UnigramToken> tokens;
  for (const auto& piece : file.pieces) {
    const bool findable = piece.type == PieceType::normal || piece.type == PieceType::user_defined;
    tokens.push_back({.spelling = piece.text,
                      .score = piece.score,
                      .id = static_cast<int64_t>(tokens.size()),
                      .findable = findable,
                      .user_defined = piece.type == PieceType::user_defined});
  }
  return std::make_unique<Unigram>(tokens,
                                   UnigramOptions{.unknown = unknown_piece(file),
                                                  .byte_fallback = file.byte_fallback,
                                                  .arithmetic = UnigramArithmetic::sentence_piece});
}

ScoredPiece::Kind kind_of_piece(PieceType type) {
  switch (type) {
    case PieceType::normal:
      return ScoredPiece::Kind::normal;
    case PieceType::user_defined:
      return ScoredPiece::Kind::user_defined;
    case PieceType::unused:
      return ScoredPiece::Kind::unused;
    case PieceType::byte:
      return ScoredPiece::Kind::byte;
    case PieceType::control:
    case PieceType::unknown:
      break;
  }
  return ScoredPiece::Kind::other;
}

std::unique_ptr<const TokenModel> bpe_of(const SentencePieceFile& file) {
  std::vector<ScoredPiece> tokens;
  for (const auto& piece : file.pieces) {
    tokens.push_back(
        {piece.text, piece.score, static_cast<int64_t>(tokens.size()), kind_of_piece(piece.type)});
  }
  return std::make_unique<ScoredBpe>(tokens, unknown_piece(file), file.byte_fallback);
}

std::unique_ptr<const TokenModel> model_of(const SentencePieceFile& file) {
  using ModelType = SentencePieceFile::ModelType;
  if (file.model_type == ModelType::unigram) return unigram_of(file);
  if (file.model_type == ModelType::bpe) return bpe_of(file);
  throw FormatError(fmt::format("its model_type is {}; supported are 1 (unigram) and 2 (BPE)",
                                static_cast<int64_t>(file.model_type)));
}

// Control pieces are found in text, as transformers does, and so is what the settings add.
std::vector<AddedToken> added_tokens_of(const SentencePieceFile& file,
                                        const TokenizerConfig& config) {
  std::vector<AddedToken> added = config.added_tokens(nullptr);
  for (size_t id = 0; id < file.pieces.size(); ++id) {
    const auto& piece = file.pieces[id];
    if (piece.type != PieceType::control && piece.type != PieceType::unknown) continue;
    const auto same = [&](const AddedToken& t) { return t.id == static_cast<int64_t>(id); };
    if (std::ranges::any_of(added, same)) continue;
    AddedToken token;
    token.content = piece.text;
    token.id = static_cast<int64_t>(id);
    token.special = true;
    token.normalized = false;
    added.push_back(std::move(token));
  }
  return added;
}

std::optional<int64_t> control_id(const SentencePieceFile& file, int64_t id) {
  const bool there = id >= 0 && id < static_cast<int64_t>(file.pieces.size()) &&
                     file.pieces[static_cast<size_t>(id)].type == PieceType::control;
  return there ? std::optional(id) : std::nullopt;
}

TextDecoder decoder_of(const SentencePieceFile& file) {
  TextDecoder decoder;
  decoder.add(decoders::replace(Regex::literal("\xE2\x96\x81"), " "));
  decoder.add(decoders::byte_fallback());
  decoder.set_fused();
  // Spaces in front are gone, all of them where they would not have come from a text.
  constexpr size_t kAll = SIZE_MAX;
  if (file.add_dummy_prefix || file.remove_extra_whitespaces) {
    decoder.add(decoders::strip_whole(" ", file.remove_extra_whitespaces ? kAll : 1, 0));
  }
  return decoder;
}

}  // namespace

TokenizerParts load_sentence_piece(const std::filesystem::path& folder) {
  const SentencePieceFile file = read_sentence_piece(folder / "tokenizer.model");
  if (file.denormalizes) throw FormatError("tokenizer.model: its denormalizer is not supported");
  require_bytes(file);
  const TokenizerConfig config(folder);
  const auto defaults = config.sentence_piece_defaults();

  TokenizerParts parts;
  for (const auto& piece : file.pieces) parts.vocabulary.add(piece.text, parts.vocabulary.size());
  parts.normalizer.add(sentence_piece_step(rules_of(file, config.flag("legacy", true))));
  parts.model = model_of(file);
  parts.decoder = decoder_of(file);
  set_added_tokens(parts, added_tokens_of(file, config));
  parts.bos = control_id(file, file.bos_id);
  parts.eos = control_id(file, file.eos_id);
  parts.pad = control_id(file, file.pad_id);
  if (defaults.bos && parts.bos) parts.prefix.push_back(*parts.bos);
  if (defaults.eos && parts.eos) parts.suffix.push_back(*parts.eos);
  config.apply(parts);
  return parts;
}

}  // namespace leash

#include "models/tokenizer/json_model.h"

#include <fmt/core.h>

#include <string>
#include <utility>
#include <vector>

#include "models/errors.h"
#include "models/subwords/byte_level_bpe.h"
#include "models/subwords/character_bpe.h"
#include "models/subwords/unigram.h"
#include "models/subwords/word_piece.h"
#include "models/tokenizer/json_members.h"

namespace leash {
namespace {

using nlohmann::json;

// {"token": id, …}
Vocabulary read_vocabulary_object(const json& vocab) {
  if (!vocab.is_object() || vocab.empty()) throw FormatError("model.vocab is no object of tokens");
  Vocabulary vocabulary;
  for (const auto& [spelling, value] : vocab.items()) {
    vocabulary.add(spelling, token_id_from(value, fmt::format("'{}'", spelling)));
  }
  return vocabulary;
}

// "a b" in older files, ["a", "b"] in newer ones.
std::pair<std::string, std::string> read_merge(const json& merge, size_t rank) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  }
  if (merge.is_string()) {
    const auto& text = merge.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos) {
      return {text.substr(0, space), text.substr(space + 1)};
    }
  }
  throw FormatError(fmt::format("model.merges: entry {} is no pair of tokens", rank));
}

MergeList read_json_merges(const json& merges) {
  if (!merges.is_array()) throw FormatError("model.merges is no array");
  MergeList pairs;
  pairs.reserve(merges.size());
  for (const json& merge : merges) {
    if (merge.is_string() && merge.get_ref<const std::string&>().starts_with("#version")) continue;
    pairs.push_back(read_merge(merge, pairs.size()));
  }
  return pairs;
}

// The id of model.unk_token; none where there is no such member.
std::optional<int64_t> unknown_id(const json& model, const Vocabulary& vocabulary) {
  const auto token = string_member(model, "unk_token");
  if (!token) return std::nullopt;
  const auto id = vocabulary.id(*token);
  if (!id) {
    throw FormatError(fmt::format("the unknown token '{}' is not in the vocabulary", *token));
  }
  return id;
}

ReadModel read_bpe(const json& model, bool bytes) {
  const json& dropout = member(model, "dropout");
  if (!dropout.is_null() && dropout != 0.0) throw FormatError("model.dropout is not supported");
  ReadModel result{.vocabulary = read_vocabulary_object(member(model, "vocab"))};
  const MergeList merges = read_json_merges(member(model, "merges"));
  CharacterBpeOptions options{
      .ignore_merges = bool_member(model, "ignore_merges", false),
      .unknown = unknown_id(model, result.vocabulary),
      .fuse_unknown = bool_member(model, "fuse_unk", false),
      .byte_fallback = bool_member(model, "byte_fallback", false),
      .continuing_prefix = string_member(model, "continuing_subword_prefix").value_or(""),
      .word_suffix = string_member(model, "end_of_word_suffix").value_or("")};
  result.takes_bytes = bytes && !options.byte_fallback && options.continuing_prefix.empty() &&
                       options.word_suffix.empty();
  if (result.takes_bytes) {
    result.model = std::make_unique<ByteLevelBpe>(
        result.vocabulary, merges,
        ByteLevelBpeOptions{options.ignore_merges, options.unknown, options.fuse_unknown});
  } else {
    result.model = std::make_unique<CharacterBpe>(result.vocabulary, merges, std::move(options));
  }
  return result;
}

// [["token", score], …], whose places are the ids.
std::vector<UnigramToken> read_unigram_tokens(const json& vocab) {
  if (!vocab.is_array() || vocab.empty()) throw FormatError("model.vocab is no array of tokens");
  std::vector<UnigramToken> tokens;
  tokens.reserve(vocab.size());
  for (const json& entry : vocab) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      throw FormatError(
          fmt::format("model.vocab: entry {} is no token with a score", tokens.size()));
    }
    UnigramToken token;
    token.spelling = entry[0].get<std::string>();
    token.score = entry[1].get<double>();
    token.id = static_cast<int64_t>(tokens.size());
    tokens.push_back(std::move(token));
  }
  return tokens;
}

ReadModel read_unigram(const json& model) {
  const std::vector<UnigramToken> tokens = read_unigram_tokens(member(model, "vocab"));
  ReadModel result;
  for (const UnigramToken& token : tokens) result.vocabulary.add(token.spelling, token.id);
  UnigramOptions options;
  options.byte_fallback = bool_member(model, "byte_fallback", false);
  if (const json& unknown = member(model, "unk_id"); !unknown.is_null()) {
    options.unknown = token_id_from(unknown, "model.unk_id");
    if (*options.unknown >= result.vocabulary.size()) {
      throw FormatError(fmt::format("model.unk_id is {}, but there are {} tokens", *options.unknown,
                                    result.vocabulary.size()));
    }
  }
  result.model = std::make_unique<Unigram>(tokens, options);
  return result;
}

ReadModel read_word_piece(const json& model) {
  ReadModel result{.vocabulary = read_vocabulary_object(member(model, "vocab"))};
  const auto unknown = unknown_id(model, result.vocabulary);
  if (!unknown) throw FormatError("model has no unk_token");
  result.model = std::make_unique<WordPiece>(
      result.vocabulary,
      WordPieceOptions{
          .unknown = *unknown,
          .continuing = string_member(model, "continuing_subword_prefix").value_or("##"),
          .max_characters =
              static_cast<size_t>(size_member(model, "max_input_chars_per_word", 100))});
  return result;
}

ReadModel read_word_level(const json& model) {
  ReadModel result{.vocabulary = read_vocabulary_object(member(model, "vocab"))};
  // Here the unknown token may be one that is not there.
  const auto unknown = string_member(model, "unk_token");
  result.model = std::make_unique<WordLevel>(
      result.vocabulary, unknown ? result.vocabulary.id(*unknown) : std::nullopt);
  return result;
}

// Older files name no type.
std::string kind_of(const json& model) {
  const std::string type = type_of(model);
  if (!type.empty()) return type;
  if (model.contains("merges")) return "BPE";
  if (member(model, "vocab").is_array()) return "Unigram";
  return model.contains("max_input_chars_per_word") ? "WordPiece" : type;
}

}  // namespace

ReadModel read_json_model(const json& model, bool bytes) {
  if (!model.is_object()) throw FormatError("it has no model");
  const std::string kind = kind_of(model);
  if (kind == "BPE") return read_bpe(model, bytes);
  if (kind == "Unigram") return read_unigram(model);
  if (kind == "WordPiece") return read_word_piece(model);
  if (kind == "WordLevel") return read_word_level(model);
  throw FormatError(fmt::format("model.type is '{}', which is not supported", kind));
}

}  // namespace leash

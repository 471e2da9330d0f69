// SentencePiece's .model file: a small protocol buffer, read by hand
// (sentencepiece: src/sentencepiece_model.proto).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace leash {

struct SentencePieceFile {
  enum class PieceType : int64_t {
    normal = 1,
    unknown = 2,
    control = 3,
    user_defined = 4,
    unused = 5,
    byte = 6
  };
  struct Piece {
    std::string text;
    float score = 0;
    PieceType type = PieceType::normal;
  };
  std::vector<Piece> pieces;  // by id

  enum class ModelType : int64_t { unigram = 1, bpe = 2, word = 3, character = 4 };
  ModelType model_type = ModelType::unigram;
  bool whitespace_as_suffix = false;
  bool byte_fallback = false;
  int64_t bos_id = 1, eos_id = 2, pad_id = -1;  // -1: none

  std::string charsmap;  // empty: none
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  bool denormalizes = false;  // it has rules for text that is decoded
};

// FormatError names the byte at which the file is not understood.
SentencePieceFile parse_sentence_piece(std::string_view bytes);
SentencePieceFile read_sentence_piece(const std::filesystem::path& file);

}  // namespace leash

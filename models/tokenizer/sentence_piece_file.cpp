#include "models/tokenizer/sentence_piece_file.h"

#include <fmt/core.h>

#include <bit>
#include <utility>

#include "models/errors.h"
#include "models/io/mapped_file.h"
#include "models/subwords/vocabulary.h"
#include "models/text/utf8.h"

namespace leash {
namespace {

// Protocol buffers' wire types.
enum class Wire : uint32_t { varint = 0, eight_bytes = 1, length = 2, four_bytes = 5 };

struct Field {
  uint64_t number = 0;
  Wire wire = Wire::varint;
  uint64_t value = 0;      // of a varint, or the bits of a fixed one
  std::string_view bytes;  // of one with a length
};

// The fields of one message, one after the other.
class Message {
 public:
  // `offset`: where `bytes` lies in the file, for messages.
  Message(std::string_view bytes, size_t offset) : bytes_(bytes), offset_(offset) {}

  bool next(Field& field) {
    if (at_ == bytes_.size()) return false;
    const uint64_t key = varint();
    field = {.number = key >> 3, .wire = static_cast<Wire>(key & 7)};
    switch (field.wire) {
      case Wire::varint:
        field.value = varint();
        return true;
      case Wire::eight_bytes:
        field.value = fixed(8);
        return true;
      case Wire::four_bytes:
        field.value = fixed(4);
        return true;
      case Wire::length:
        field.bytes = take(varint());
        return true;
    }
    fail(fmt::format("a field of the unknown wire type {}", key & 7));
  }

  Message inside(const Field& field) const {
    expect(field, Wire::length);
    return {field.bytes, offset_ + static_cast<size_t>(field.bytes.data() - bytes_.data())};
  }
  std::string_view text(const Field& field) const {
    expect(field, Wire::length);
    return field.bytes;
  }
  int64_t integer(const Field& field) const {
    expect(field, Wire::varint);
    return static_cast<int64_t>(field.value);
  }
  bool flag(const Field& field) const { return integer(field) != 0; }
  float number(const Field& field) const {
    expect(field, Wire::four_bytes);
    return std::bit_cast<float>(static_cast<uint32_t>(field.value));
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw FormatError(
        fmt::format("it is no SentencePiece model: {} before byte {}", what, offset_ + at_));
  }

 private:
  void expect(const Field& field, Wire wire) const {
    if (field.wire != wire) fail(fmt::format("field {} of another type", field.number));
  }
  std::string_view take(uint64_t size) {
    if (size > bytes_.size() - at_) fail("a field that is cut off");
    const std::string_view taken = bytes_.substr(at_, size);
    at_ += size;
    return taken;
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    fail("a number of more than ten bytes");
  }
  uint64_t fixed(size_t size) {
    const std::string_view taken = take(size);
    uint64_t value = 0;
    for (size_t i = 0; i < size; ++i) {
      value |= static_cast<uint64_t>(static_cast<uint8_t>(taken[i])) << (8 * i);
    }
    return value;
  }

  std::string_view bytes_;
  size_t offset_;
  size_t at_ = 0;
};

SentencePieceFile::Piece read_piece(Message message) {
  SentencePieceFile::Piece piece;
  Field field;
  while (message.next(field)) {
    if (field.number == 1) piece.text = message.text(field);
    if (field.number == 2) piece.score = message.number(field);
    if (field.number == 3) {
      const int64_t type = message.integer(field);
      if (type < 1 || type > 6) message.fail(fmt::format("a piece of the unknown type {}", type));
      piece.type = static_cast<SentencePieceFile::PieceType>(type);
    }
  }
  if (piece.text.empty()) message.fail("an empty piece");
  if (!is_valid_utf8(piece.text)) message.fail("a piece that is no valid UTF-8");
  return piece;
}

// The numbers are those of TrainerSpec.
void read_trainer(Message message, SentencePieceFile& file) {
  Field field;
  while (message.next(field)) {
    switch (field.number) {
      case 3:
        file.model_type = static_cast<SentencePieceFile::ModelType>(message.integer(field));
        break;
      case 24:
        file.whitespace_as_suffix = message.flag(field);
        break;
      case 35:
        file.byte_fallback = message.flag(field);
        break;
      case 41:
        file.bos_id = message.integer(field);
        break;
      case 42:
        file.eos_id = message.integer(field);
        break;
      case 43:
        file.pad_id = message.integer(field);
        break;
      default:
        break;
    }
  }
}

void read_rules(Message message, SentencePieceFile& file) {
  Field field;
  while (message.next(field)) {
    if (field.number == 2) file.charsmap = message.text(field);
    if (field.number == 3) file.add_dummy_prefix = message.flag(field);
    if (field.number == 4) file.remove_extra_whitespaces = message.flag(field);
    if (field.number == 5) file.escape_whitespaces = message.flag(field);
  }
}

void read_denormalizer(Message message, SentencePieceFile& file) {
  Field field;
  while (message.next(field)) {
    if (field.number == 2) file.denormalizes = !message.text(field).empty();
  }
}

}  // namespace

SentencePieceFile parse_sentence_piece(std::string_view bytes) {
  SentencePieceFile file;
  Message message(bytes, 0);
  Field field;
  while (message.next(field)) {
    if (field.number == 1) {
      if (static_cast<int64_t>(file.pieces.size()) >= kMaxVocabulary)
        message.fail("too many pieces");
      file.pieces.push_back(read_piece(message.inside(field)));
    }
    if (field.number == 2) read_trainer(message.inside(field), file);
    if (field.number == 3) read_rules(message.inside(field), file);
    if (field.number == 5) read_denormalizer(message.inside(field), file);
  }
  if (file.pieces.empty()) message.fail("no pieces");
  return file;
}

SentencePieceFile read_sentence_piece(const std::filesystem::path& path) {
  const auto mapped = MappedFile::open(path);
  try {
    return parse_sentence_piece(
        {reinterpret_cast<const char*>(mapped->bytes().data()), mapped->bytes().size()});
  } catch (const FormatError& error) {
    throw FormatError(fmt::format("{}: {}", path.filename().string(), error.what()));
  }
}

}  // namespace leash

// The tokenizer as the rest of the project sees it, over whatever a loader made.
#include "models/tokenizer/tokenizer.h"

#include <c10/util/Exception.h>
#include <fmt/core.h>

#include <algorithm>
#include <deque>
#include <fstream>
#include <memory>
#include <system_error>
#include <utility>

#include "models/errors.h"
#include "models/printable.h"
#include "models/text/utf8.h"
#include "models/tokenizer/chat_template.h"
#include "models/tokenizer/tokenizer_parts.h"

namespace leash {
namespace {

constexpr size_t kMaxShownError = 500;  // tokens in messages come from the file

bool is_gguf(const std::filesystem::path& file) {
  char magic[4] = {};
  std::ifstream(file, std::ios::binary).read(magic, sizeof magic);
  return std::string_view(magic, sizeof magic) == "GGUF";
}

TokenizerParts read_parts(const std::filesystem::path& model) {
  std::error_code error;  // what cannot be looked at counts as missing
  if (std::filesystem::is_directory(model, error)) {
    const bool sentence_piece = !std::filesystem::exists(model / "tokenizer.json", error) &&
                                std::filesystem::exists(model / "tokenizer.model", error);
    return sentence_piece ? load_sentence_piece(model) : load_tokenizer_json(model);
  }
  if (!std::filesystem::exists(model, error)) throw FormatError("there is no such file or folder");
  if (!std::filesystem::is_regular_file(model, error)) throw FormatError("it is no regular file");
  if (is_gguf(model)) return load_gguf_tokenizer(model);
  throw FormatError(
      "it is neither a GGUF file nor a folder with tokenizer.json or tokenizer.model");
}

TokenizerParts load_parts(const std::filesystem::path& model) {
  TokenizerParts parts = read_parts(model);
  if (parts.chat_template.size() > kMaxTemplateBytes) {
    throw FormatError(fmt::format("its chat template has {} bytes; at most {} are read",
                                  parts.chat_template.size(), kMaxTemplateBytes));
  }
  return parts;
}

}  // namespace

struct Tokenizer::State : TokenizerParts {
  // Null where no token has the id.
  const VocabularyToken* token(int64_t id) const {
    TORCH_CHECK(id >= 0, "no token has the id ", id);
    return vocabulary.find(id);
  }

  void encode_words(const TextPiece& text, ModelScratch* scratch, std::vector<int64_t>& ids) const {
    std::deque<std::string> storage;
    for (const TextPiece& word : pre_tokenizer.split(text, storage)) {
      model->encode(word.text, scratch, ids);
    }
  }

  // Text between added tokens that are looked for as they stand.
  void encode_between(const TextPiece& raw, std::span<const ByteRange> plain, ModelScratch* scratch,
                      std::vector<int64_t>& ids) const {
    TextInWork work;
    TextPiece text = raw;
    if (!normalizer.empty()) {
      work = {std::string(raw.text), raw.first};
      normalizer.apply(work);
      text = {work.text, work.from_start};
    }
    if (!plain.empty() && text.text != raw.text && normalized_matcher.has_special()) {
      throw FormatError(
          "where special tokens stay text inside of a message is not known for this tokenizer, "
          "which looks for them in normalised text (data.special_tokens_in_text: recognise)");
    }
    for (const auto& part : normalized_matcher.split(text.text, plain)) {
      if (part.token != nullptr) {
        ids.push_back(part.token->id);
      } else {
        encode_words({part.text, text.first && part.text.data() == text.text.data()}, scratch, ids);
      }
    }
  }

  // `plain` refers to valid UTF-8.
  void encode(std::string_view bytes, std::span<const ByteRange> plain,
              std::vector<int64_t>& ids) const {
    const std::unique_ptr<ModelScratch> scratch = model->scratch();
    std::string storage;
    const std::string_view text = replace_invalid(bytes, storage);
    for (const auto& part : raw_matcher.split(text, plain)) {
      if (part.token != nullptr) {
        ids.push_back(part.token->id);
        continue;
      }
      const auto begin = static_cast<size_t>(part.text.data() - text.data());
      std::vector<ByteRange> inside;
      for (const ByteRange& range : plain) {
        if (!range.overlaps(begin, begin + part.text.size())) continue;
        inside.push_back({std::max(range.begin, begin) - begin, range.end - begin});
      }
      encode_between({part.text, part.text.data() == text.data()}, inside, scratch.get(), ids);
    }
  }

  // What the decoder is given for a token.
  static const std::string& for_decoder(const VocabularyToken& token) {
    return token.decoded.empty() ? token.spelling : token.decoded;
  }
};

// What chat templates find as bos_token and the like.
std::vector<std::pair<std::string, std::string>> named_tokens_of(const Tokenizer& tokenizer,
                                                                 const TokenizerParts& parts) {
  std::vector<std::pair<std::string, std::string>> named;
  const auto add = [&](const char* name, std::optional<int64_t> id) {
    if (id) named.emplace_back(name, tokenizer.token_bytes(*id));
  };
  add("bos_token", parts.bos);
  add("eos_token", parts.eos);
  add("pad_token", parts.pad);
  named.insert(named.end(), parts.named_tokens.begin(), parts.named_tokens.end());
  return named;
}

Tokenizer Tokenizer::load(const std::filesystem::path& model) {
  Tokenizer tokenizer;
  try {
    tokenizer.state_ = std::make_shared<const State>(State{load_parts(model)});
    tokenizer.chat_ = std::make_shared<const ChatFormat>(
        tokenizer.state_->chat_template, named_tokens_of(tokenizer, *tokenizer.state_));
  } catch (const FormatError& error) {
    throw FormatError(
        fmt::format("{}: tokenizer: {}", model.string(), printable(error.what(), kMaxShownError)));
  }
  return tokenizer;
}

std::vector<int64_t> Tokenizer::encode(std::string_view text) const { return encode(text, {}); }

std::vector<int64_t> Tokenizer::encode(std::string_view text,
                                       std::span<const ByteRange> plain) const {
  std::vector<int64_t> ids;
  state_->encode(text, plain, ids);
  return ids;
}

std::vector<int64_t> Tokenizer::encode_with_special(std::string_view text) const {
  std::vector<int64_t> ids = state_->prefix;
  state_->encode(text, {}, ids);
  ids.insert(ids.end(), state_->suffix.begin(), state_->suffix.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const int64_t> ids, bool skip_special) const {
  StreamDecoder stream(*this, skip_special);
  std::string text;
  for (const int64_t id : ids) text += stream.push(id);
  return text += stream.finish();
}

std::string Tokenizer::token_bytes(int64_t id) const {
  const VocabularyToken* token = state_->token(id);
  return token == nullptr ? "" : state_->decoder.bytes_of(State::for_decoder(*token));
}

int64_t Tokenizer::vocab_size() const { return state_->vocabulary.size(); }

std::optional<int64_t> Tokenizer::token_id(std::string_view token) const {
  return state_->vocabulary.id(token);
}

bool Tokenizer::is_special(int64_t id) const {
  const VocabularyToken* token = state_->token(id);
  return token != nullptr && token->special;
}
std::optional<int64_t> Tokenizer::bos_token_id() const { return state_->bos; }
std::optional<int64_t> Tokenizer::eos_token_id() const { return state_->eos; }
std::optional<int64_t> Tokenizer::pad_token_id() const { return state_->pad; }
const std::string& Tokenizer::chat_template() const { return state_->chat_template; }

bool same_vocabulary(const Tokenizer& a, const Tokenizer& b) {
  if (a.vocab_size() != b.vocab_size()) return false;
  for (int64_t id = 0; id < a.vocab_size(); ++id) {
    if (a.is_special(id) != b.is_special(id) || a.token_bytes(id) != b.token_bytes(id))
      return false;
  }
  return true;
}

struct StreamDecoder::State {
  std::shared_ptr<const Tokenizer::State> tokenizer;
  bool skip_special;
  TextDecoder::Stream stream;
};

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : state_(std::make_unique<State>(
          State{tokenizer.state_, skip_special, TextDecoder::Stream(tokenizer.state_->decoder)})) {}
StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;

std::string StreamDecoder::push(int64_t id) {
  const VocabularyToken* token = state_->tokenizer->token(id);
  if (token == nullptr || (state_->skip_special && token->special)) return "";
  state_->stream.push(Tokenizer::State::for_decoder(*token));
  return state_->stream.take();
}

std::string StreamDecoder::finish() {
  state_->stream.finish();
  std::string text = state_->stream.take();
  state_->stream = TextDecoder::Stream(state_->tokenizer->decoder);
  return text;
}

}  // namespace leash

// The tokenizer as the rest of the project sees it, over whatever a loader made.
#include "models/tokenizer/tokenizer.h"

#include <c10/util/Exception.h>
#include <fmt/core.h>

#include <fstream>
#include <system_error>
#include <utility>

#include "models/errors.h"
#include "models/printable.h"
#include "models/tokenizer/tokenizer_parts.h"
#include "models/tokenizer/utf8.h"

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
  if (std::filesystem::is_directory(model, error)) return load_tokenizer_json(model);
  if (!std::filesystem::exists(model, error)) throw FormatError("there is no such file or folder");
  if (!std::filesystem::is_regular_file(model, error)) throw FormatError("it is no regular file");
  if (is_gguf(model)) return load_gguf_tokenizer(model);
  throw FormatError("it is neither a GGUF file nor a folder with tokenizer.json");
}

TokenizerParts load_parts(const std::filesystem::path& model) {
  TokenizerParts parts = read_parts(model);
  if (parts.chat_template.size() > kMaxTemplateBytes) {
    throw FormatError(fmt::format("its chat template has {} bytes; at most {} are read",
                                  parts.chat_template.size(), kMaxTemplateBytes));
  }
  return parts;
}

// The end of `text` that may become a character when more bytes come.
size_t unfinished_bytes(std::string_view text) {
  for (size_t n = 1; n <= 3 && n <= text.size(); ++n) {
    const Utf8Char c = first_char(text.substr(text.size() - n));
    if (c.unfinished && c.length == n) return n;
  }
  return 0;
}

std::string valid_copy(std::string_view bytes) {
  std::string storage;
  return std::string(replace_invalid(bytes, storage));
}

}  // namespace

struct Tokenizer::State : TokenizerParts {
  const TokenEntry& entry(int64_t id) const {
    TORCH_CHECK(id >= 0, "no token has the id ", id);
    static const TokenEntry kUnused;
    return id < static_cast<int64_t>(tokens.size()) ? tokens[id] : kUnused;
  }

  // Text between added tokens that are looked for as they stand.
  void encode_between(std::string_view raw, std::vector<int64_t>& ids) const {
    std::string storage;
    std::string_view text = raw;
    if (nfc) text = storage = normalize_nfc(raw);
    for (const auto& part : normalized_matcher.split(text)) {
      if (part.token != nullptr) {
        ids.push_back(part.token->id);
      } else {
        model->encode(part.text, ids);
      }
    }
  }

  void encode(std::string_view bytes, std::vector<int64_t>& ids) const {
    std::string storage;
    for (const auto& part : raw_matcher.split(replace_invalid(bytes, storage))) {
      if (part.token != nullptr) {
        ids.push_back(part.token->id);
      } else {
        encode_between(part.text, ids);
      }
    }
  }
};

Tokenizer Tokenizer::load(const std::filesystem::path& model) {
  Tokenizer tokenizer;
  try {
    tokenizer.state_ = std::make_shared<const State>(State{load_parts(model)});
  } catch (const FormatError& error) {
    throw FormatError(
        fmt::format("{}: tokenizer: {}", model.string(), printable(error.what(), kMaxShownError)));
  }
  return tokenizer;
}

std::vector<int64_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int64_t> ids;
  state_->encode(text, ids);
  return ids;
}

std::vector<int64_t> Tokenizer::encode_with_special(std::string_view text) const {
  std::vector<int64_t> ids = state_->prefix;
  state_->encode(text, ids);
  ids.insert(ids.end(), state_->suffix.begin(), state_->suffix.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const int64_t> ids, bool skip_special) const {
  std::string bytes;
  for (const int64_t id : ids) {
    const TokenEntry& entry = state_->entry(id);
    if (!(skip_special && entry.special)) bytes += entry.bytes;
  }
  return valid_copy(bytes);
}

std::string Tokenizer::token_bytes(int64_t id) const { return state_->entry(id).bytes; }

int64_t Tokenizer::vocab_size() const { return static_cast<int64_t>(state_->tokens.size()); }

std::optional<int64_t> Tokenizer::token_id(std::string_view token) const {
  const auto found = state_->ids.find(token);
  if (found == state_->ids.end()) return std::nullopt;
  return found->second;
}

bool Tokenizer::is_special(int64_t id) const { return state_->entry(id).special; }
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

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : tokenizer_(tokenizer), skip_special_(skip_special) {}

std::string StreamDecoder::push(int64_t id) {
  const std::string bytes = tokenizer_.token_bytes(id);
  if (skip_special_ && tokenizer_.is_special(id)) return "";
  pending_ += bytes;
  const size_t held_back = unfinished_bytes(pending_);
  const size_t ready = pending_.size() - held_back;
  std::string text = valid_copy(std::string_view(pending_).substr(0, ready));
  pending_.erase(0, ready);
  return text;
}

std::string StreamDecoder::finish() {
  std::string text = valid_copy(pending_);
  pending_.clear();
  return text;
}

}  // namespace leash

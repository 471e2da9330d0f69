// The vocabulary that a GGUF file carries in its metadata.
#include <fmt/core.h>

#include <string>
#include <utility>
#include <vector>

#include "models/errors.h"
#include "models/families/token_id.h"
#include "models/io/gguf.h"
#include "models/tokenizer/bpe.h"
#include "models/tokenizer/tokenizer_parts.h"

namespace leash {
namespace {

// llama.cpp's token types, those that matter here.
constexpr int64_t kUnknownType = 2;
constexpr int64_t kControlType = 3;
constexpr int64_t kUserDefinedType = 4;

std::vector<std::string> read_vocabulary(const GgufFile& file) {
  auto tokens = file.strings("tokenizer.ggml.tokens");
  if (!tokens || tokens->empty()) throw FormatError("it holds no tokenizer.ggml.tokens");
  if (static_cast<int64_t>(tokens->size()) > kMaxVocabulary) {
    throw FormatError(fmt::format("{} tokens are too many", tokens->size()));
  }
  for (size_t id = 0; id < tokens->size(); ++id) {
    if ((*tokens)[id].empty()) throw FormatError(fmt::format("the token with id {} is empty", id));
  }
  return std::move(*tokens);
}

std::vector<std::pair<std::string, std::string>> read_merges(const GgufFile& file) {
  auto lines = file.strings("tokenizer.ggml.merges");
  if (!lines) throw FormatError("it holds no tokenizer.ggml.merges");
  std::vector<std::pair<std::string, std::string>> merges;
  merges.reserve(lines->size());
  for (const std::string& line : *lines) {
    const size_t space = line.find(' ');
    if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos) {
      throw FormatError(fmt::format("tokenizer.ggml.merges: entry {} ('{}') is no pair of tokens",
                                    merges.size(), line));
    }
    merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return merges;
}

// Control and user-defined tokens are recognised inside text; control tokens are special.
std::vector<AddedToken> read_added_tokens(const GgufFile& file,
                                          const std::vector<std::string>& vocabulary) {
  const auto types = file.ints("tokenizer.ggml.token_type");
  if (!types) return {};
  if (types->size() != vocabulary.size()) {
    throw FormatError(fmt::format("tokenizer.ggml.token_type has {} entries for {} tokens",
                                  types->size(), vocabulary.size()));
  }
  std::vector<AddedToken> added;
  for (size_t id = 0; id < types->size(); ++id) {
    const int64_t type = (*types)[id];
    if (type != kUnknownType && type != kControlType && type != kUserDefinedType) continue;
    AddedToken token;
    token.content = vocabulary[id];
    token.id = static_cast<int64_t>(id);
    token.special = type != kUserDefinedType;
    token.normalized = false;
    added.push_back(std::move(token));
  }
  return added;
}

std::optional<int64_t> read_token_id(const GgufFile& file, const char* key, size_t vocabulary) {
  const auto id = unless_none(file.int_value(key));
  if (id && (*id < 0 || *id >= static_cast<int64_t>(vocabulary))) {
    throw FormatError(fmt::format("{} is {}, but there are {} tokens", key, *id, vocabulary));
  }
  return id;
}

int64_t required(std::optional<int64_t> id, const char* what) {
  if (!id) throw FormatError(fmt::format("text is to get {}, but the file does not name it", what));
  return *id;
}

}  // namespace

TokenizerParts load_gguf_tokenizer(const std::filesystem::path& path) {
  const auto file = GgufFile::open(path);
  const std::string kind = file->string_value("tokenizer.ggml.model").value_or("");
  if (kind != "gpt2") {
    throw FormatError(fmt::format(
        "tokenizer.ggml.model is '{}'; only byte-level BPE ('gpt2') is supported", kind));
  }
  NamedPreTokenizer named =
      named_pre_tokenizer(file->string_value("tokenizer.ggml.pre").value_or("default"));

  TokenizerParts parts;
  BpeSource source;
  source.vocabulary = read_vocabulary(*file);
  source.merges = read_merges(*file);
  source.ignore_merges = named.ignore_merges;
  source.pre_tokenizer = std::move(named.pre_tokenizer);
  parts.nfc = named.nfc;
  set_tokens(parts, source.vocabulary, read_added_tokens(*file, source.vocabulary));

  const size_t size = source.vocabulary.size();
  parts.bos = read_token_id(*file, "tokenizer.ggml.bos_token_id", size);
  parts.eos = read_token_id(*file, "tokenizer.ggml.eos_token_id", size);
  parts.pad = read_token_id(*file, "tokenizer.ggml.padding_token_id", size);
  if (file->int_value("tokenizer.ggml.add_bos_token").value_or(named.add_bos) != 0) {
    parts.prefix.push_back(required(parts.bos, "a BOS token"));
  }
  if (file->int_value("tokenizer.ggml.add_eos_token").value_or(0) != 0) {
    parts.suffix.push_back(required(parts.eos, "an EOS token"));
  }
  parts.chat_template = file->string_value("tokenizer.chat_template").value_or("");
  parts.model = std::make_unique<ByteLevelBpe>(std::move(source));
  return parts;
}

}  // namespace leash

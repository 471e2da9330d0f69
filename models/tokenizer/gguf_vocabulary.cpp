#include "models/tokenizer/gguf_vocabulary.h"

#include <fmt/core.h>

#include <cmath>
#include <limits>
#include <utility>

#include "models/errors.h"
#include "models/families/token_id.h"

namespace leash {
namespace {

std::string full_key(const char* key) { return std::string("tokenizer.ggml.") + key; }

int64_t named_or_refused(std::optional<int64_t> id, const char* what) {
  if (!id) throw FormatError(fmt::format("text is to get {}, but the file does not name it", what));
  return *id;
}

}  // namespace

GgufVocabulary::GgufVocabulary(const GgufFile& file) : file_(file) {
  auto tokens = file.strings("tokenizer.ggml.tokens");
  if (!tokens || tokens->empty()) throw FormatError("it holds no tokenizer.ggml.tokens");
  tokens_ = std::move(*tokens);
  auto types = file.ints("tokenizer.ggml.token_type");
  if (!types) return;
  if (types->size() != tokens_.size()) {
    throw FormatError(fmt::format("tokenizer.ggml.token_type has {} entries for {} tokens",
                                  types->size(), tokens_.size()));
  }
  types_ = std::move(*types);
}

Vocabulary GgufVocabulary::vocabulary() const {
  Vocabulary vocabulary;
  for (size_t id = 0; id < tokens_.size(); ++id) {
    vocabulary.add(tokens_[id], static_cast<int64_t>(id));
  }
  return vocabulary;
}

GgufTokenType GgufVocabulary::type(int64_t id) const {
  return types_.empty() ? GgufTokenType::normal
                        : static_cast<GgufTokenType>(types_[static_cast<size_t>(id)]);
}

std::vector<float> GgufVocabulary::scores() const {
  const auto scores = file_.floats("tokenizer.ggml.scores");
  if (!scores || scores->size() != tokens_.size()) {
    throw FormatError(fmt::format("tokenizer.ggml.scores has {} entries for {} tokens",
                                  scores ? scores->size() : 0, tokens_.size()));
  }
  std::vector<float> result;
  result.reserve(scores->size());
  for (const double score : *scores) {
    if (!(std::abs(score) <= std::numeric_limits<float>::max())) {
      throw FormatError(fmt::format("tokenizer.ggml.scores: entry {} is {}", result.size(), score));
    }
    result.push_back(static_cast<float>(score));
  }
  return result;
}

std::vector<AddedToken> GgufVocabulary::added_tokens() const {
  std::vector<AddedToken> added;
  for (size_t id = 0; id < types_.size(); ++id) {
    const GgufTokenType kind = type(static_cast<int64_t>(id));
    const bool special = kind == GgufTokenType::control || kind == GgufTokenType::unknown;
    if (!special && kind != GgufTokenType::user_defined) continue;
    AddedToken token;
    token.content = tokens_[id];
    token.id = static_cast<int64_t>(id);
    token.special = special;
    token.normalized = false;
    added.push_back(std::move(token));
  }
  return added;
}

bool GgufVocabulary::flag(const char* key, bool otherwise) const {
  return file_.int_value(full_key(key)).value_or(otherwise) != 0;
}

std::string GgufVocabulary::bytes(const char* key) const {
  std::string result;
  const auto values = file_.ints(full_key(key));
  if (!values) return result;
  for (const int64_t value : *values) result += static_cast<char>(value);
  return result;
}

std::optional<int64_t> GgufVocabulary::token_id(const char* key,
                                                std::optional<int64_t> otherwise) const {
  const auto size = static_cast<int64_t>(tokens_.size());
  const auto said = file_.int_value(full_key(key));
  const auto id = unless_none(said);
  if (id && (*id < 0 || *id >= size)) {
    throw FormatError(fmt::format("{} is {}, but there are {} tokens", full_key(key), *id, size));
  }
  if (!said && otherwise && *otherwise < size) return otherwise;
  return id;
}

void GgufVocabulary::set_surrounding(TokenizerParts& parts, const Surrounding& otherwise) const {
  const auto set = [&](std::optional<int64_t>& id, const char* key) {
    if (const auto named = token_id(key)) id = named;
  };
  set(parts.bos, "bos_token_id");
  set(parts.eos, "eos_token_id");
  set(parts.pad, "padding_token_id");
  if (otherwise.bos_always || flag("add_bos_token", otherwise.bos)) {
    parts.prefix.push_back(named_or_refused(parts.bos, "a BOS token"));
  }
  if (flag("add_eos_token", otherwise.eos)) {
    parts.suffix.push_back(named_or_refused(parts.eos, "an EOS token"));
  }
}

}  // namespace leash

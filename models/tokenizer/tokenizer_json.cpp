// Hugging Face's tokenizer.json, as far as it describes a byte-level BPE, with the files beside it.
#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "models/errors.h"
#include "models/io/json_file.h"
#include "models/io/mapped_file.h"
#include "models/tokenizer/bpe.h"
#include "models/tokenizer/json_members.h"
#include "models/tokenizer/json_steps.h"
#include "models/tokenizer/tokenizer_parts.h"

namespace leash {
namespace {

using nlohmann::json;

const json kNull;

const json& member(const json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

// Spellings by id, from model.vocab.
std::vector<std::string> read_vocabulary(const json& vocab) {
  if (!vocab.is_object() || vocab.empty()) throw FormatError("model.vocab is no object of tokens");
  std::vector<std::string> spellings;
  for (const auto& [spelling, value] : vocab.items()) {
    const auto id = static_cast<size_t>(token_id_from(value, fmt::format("'{}'", spelling)));
    if (spelling.empty()) throw FormatError(fmt::format("the token with id {} is empty", id));
    if (id >= spellings.size()) spellings.resize(id + 1);
    if (!spellings[id].empty()) {
      throw FormatError(
          fmt::format("'{}' and '{}' both have the id {}", spellings[id], spelling, id));
    }
    spellings[id] = spelling;
  }
  return spellings;
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

std::vector<std::pair<std::string, std::string>> read_merges(const json& merges) {
  if (!merges.is_array()) throw FormatError("model.merges is no array");
  std::vector<std::pair<std::string, std::string>> pairs;
  pairs.reserve(merges.size());
  for (const json& merge : merges) {
    if (merge.is_string() && merge.get_ref<const std::string&>().starts_with("#version")) continue;
    pairs.push_back(read_merge(merge, pairs.size()));
  }
  return pairs;
}

void refuse_unsupported(const json& model) {
  const std::string type = type_of(model);
  if (type != "BPE" && !(type.empty() && model.contains("merges"))) {
    throw FormatError(fmt::format("model.type is '{}'; only byte-level BPE is supported", type));
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!string_member(model, key).value_or("").empty()) {
      throw FormatError(fmt::format("model.{} is not supported", key));
    }
  }
  if (bool_member(model, "byte_fallback", false)) {
    throw FormatError(
        "model.byte_fallback belongs to a SentencePiece model, which is not supported");
  }
  const json& dropout = member(model, "dropout");
  if (!dropout.is_null() && dropout != 0.0) throw FormatError("model.dropout is not supported");
}

BpeSource read_model(const json& model) {
  if (!model.is_object()) throw FormatError("it has no model");
  refuse_unsupported(model);
  BpeSource source;
  source.vocabulary = read_vocabulary(member(model, "vocab"));
  source.merges = read_merges(member(model, "merges"));
  source.ignore_merges = bool_member(model, "ignore_merges", false);
  source.unknown_token = string_member(model, "unk_token");
  source.fuse_unknown = bool_member(model, "fuse_unk", false);
  return source;
}

AddedToken read_added_token(const json& entry, int64_t id) {
  AddedToken token;
  token.content = string_member(entry, "content").value_or("");
  if (token.content.empty()) throw FormatError(fmt::format("the added token {} is empty", id));
  token.id = id;
  token.special = bool_member(entry, "special", false);
  token.single_word = bool_member(entry, "single_word", false);
  token.lstrip = bool_member(entry, "lstrip", false);
  token.rstrip = bool_member(entry, "rstrip", false);
  token.normalized = bool_member(entry, "normalized", !token.special);
  return token;
}

// Gives an added token its place in the vocabulary; one that is there already has to agree.
void place(std::vector<std::string>& vocabulary, const AddedToken& token) {
  const auto id = static_cast<size_t>(token.id);
  if (id >= vocabulary.size()) vocabulary.resize(id + 1);
  if (vocabulary[id].empty()) {
    vocabulary[id] = token.content;
  } else if (vocabulary[id] != token.content) {
    throw FormatError(fmt::format("the added token '{}' has the id {} of '{}'", token.content, id,
                                  vocabulary[id]));
  }
}

std::vector<AddedToken> read_added_tokens(const json& document, const json& config) {
  std::vector<AddedToken> tokens;
  std::vector<bool> seen;
  const auto add = [&](const json& entry, int64_t id, bool required) {
    if (!entry.is_object()) throw FormatError(fmt::format("the added token {} is no object", id));
    if (static_cast<size_t>(id) >= seen.size()) seen.resize(id + 1);
    if (seen[id] && required) throw FormatError(fmt::format("two added tokens have the id {}", id));
    if (!seen[id]) tokens.push_back(read_added_token(entry, id));
    seen[id] = true;
  };
  const json& list = member(document, "added_tokens");
  if (!list.is_null() && !list.is_array()) throw FormatError("added_tokens is no array");
  for (const json& entry : list) {
    add(entry, token_id_from(entry.is_object() ? member(entry, "id") : kNull, "an added token"),
        true);
  }
  // transformers adds what only tokenizer_config.json knows.
  const json& decoder = member(config, "added_tokens_decoder");
  if (!decoder.is_null() && !decoder.is_object()) {
    throw FormatError("tokenizer_config.json: added_tokens_decoder is no object");
  }
  for (const auto& [key, entry] : decoder.items()) {
    const json number = json::parse(key, nullptr, /*allow_exceptions=*/false);
    add(entry, token_id_from(number, fmt::format("added_tokens_decoder's '{}'", key)), false);
  }
  return tokens;
}

// "bos_token" and the like: a string, or an object with its content.
std::optional<int64_t> named_token(const TokenizerParts& parts, const json& config, const json& map,
                                   const char* key) {
  const json& value = member(config, key).is_null() ? member(map, key) : member(config, key);
  if (value.is_null()) return std::nullopt;
  const json& content = value.is_object() ? member(value, "content") : value;
  if (!content.is_string()) throw FormatError(fmt::format("{} is no string", key));
  const auto found = parts.ids.find(content.get_ref<const std::string&>());
  if (found == parts.ids.end()) {
    throw FormatError(
        fmt::format("the {} '{}' is not in the vocabulary", key, content.get<std::string>()));
  }
  return found->second;
}

// Classes that put their own template in the place of the post_processor as soon as one of the two
// settings is written (transformers' update_post_processor).
bool obeys_settings(const json& config) {
  const std::string name = string_member(config, "tokenizer_class").value_or("");
  for (const char* known : {"LlamaTokenizer", "GemmaTokenizer", "CodeLlamaTokenizer"}) {
    if (name == known || name == std::string(known) + "Fast") return true;
  }
  return false;
}

int64_t named(std::optional<int64_t> id, const char* setting, const char* token) {
  if (!id) throw FormatError(fmt::format("{} is true, but there is no {}", setting, token));
  return *id;
}

// Other classes pass over the settings, or obey them, as transformers' version is: only where both
// come to the same is it known what text gets.
void require_agreement(const json& config, const char* setting, std::optional<int64_t> token,
                       const std::vector<int64_t>& added) {
  if (member(config, setting).is_null()) return;
  const bool wanted = bool_member(config, setting, false);
  const bool there = token && std::ranges::find(added, *token) != added.end();
  if (wanted == there) return;
  throw FormatError(fmt::format(
      "tokenizer_config.json says {}: {}, but the post_processor of tokenizer.json {} that token, "
      "and versions of transformers follow one or the other; make them agree",
      setting, wanted, there ? "adds" : "does not add"));
}

// add_bos_token and add_eos_token of tokenizer_config.json.
void apply_settings(const json& config, TokenizerParts& parts) {
  const char* const add_bos = "add_bos_token";
  const char* const add_eos = "add_eos_token";
  if (!obeys_settings(config)) {
    require_agreement(config, add_bos, parts.bos, parts.prefix);
    require_agreement(config, add_eos, parts.eos, parts.suffix);
    return;
  }
  if (member(config, add_bos).is_null() && member(config, add_eos).is_null()) return;
  parts.prefix.clear();
  parts.suffix.clear();
  if (bool_member(config, add_bos, true)) {
    parts.prefix.push_back(named(parts.bos, add_bos, "bos_token"));
  }
  if (bool_member(config, add_eos, false)) {
    parts.suffix.push_back(named(parts.eos, add_eos, "eos_token"));
  }
}

// One byte more than a template may have says that it is too long.
std::string read_template(const std::filesystem::path& file) {
  const auto mapped = MappedFile::open(file);
  const auto bytes = mapped->bytes().first(std::min(mapped->bytes().size(), kMaxTemplateBytes + 1));
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// chat_template.jinja, or a string, or a list of named templates of which "default" counts.
std::string read_chat_template(const std::filesystem::path& folder, const json& config) {
  if (is_there(folder / "chat_template.jinja")) {
    return read_template(folder / "chat_template.jinja");
  }
  const json& value = member(config, "chat_template");
  if (value.is_null()) return "";
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) throw FormatError("chat_template is neither a string nor a list");
  for (const json& entry : value) {
    if (entry.is_object() && string_member(entry, "name") == "default") {
      return string_member(entry, "template").value_or("");
    }
  }
  return "";
}

json object_in(const std::filesystem::path& file) {
  json document = read_json_file(file);
  if (!document.is_object()) throw FormatError(file.string() + ": it holds no JSON object");
  return document;
}

json optional_object(const std::filesystem::path& file) {
  return is_there(file) ? object_in(file) : json::object();
}

}  // namespace

TokenizerParts load_tokenizer_json(const std::filesystem::path& folder) {
  const json document = object_in(folder / "tokenizer.json");
  const json config = optional_object(folder / "tokenizer_config.json");
  const json map = optional_object(folder / "special_tokens_map.json");

  BpeSource source = read_model(member(document, "model"));
  std::vector<AddedToken> added = read_added_tokens(document, config);
  std::vector<std::string> vocabulary = source.vocabulary;
  for (const AddedToken& token : added) place(vocabulary, token);

  TokenizerParts parts;
  parts.nfc = read_normalizer(member(document, "normalizer"));
  set_tokens(parts, vocabulary, std::move(added));
  source.pre_tokenizer = read_pre_tokenizer(member(document, "pre_tokenizer"));
  check_decoder(member(document, "decoder"));
  const SurroundingTokens around = read_post_processor(member(document, "post_processor"));
  for (const std::vector<int64_t>* ids : {&around.before, &around.behind}) {
    for (const int64_t id : *ids) {
      if (id >= static_cast<int64_t>(vocabulary.size())) {
        throw FormatError(fmt::format("post_processor adds the id {}, which no token has", id));
      }
    }
  }
  parts.prefix = around.before;
  parts.suffix = around.behind;
  parts.model = std::make_unique<ByteLevelBpe>(std::move(source));
  parts.bos = named_token(parts, config, map, "bos_token");
  parts.eos = named_token(parts, config, map, "eos_token");
  parts.pad = named_token(parts, config, map, "pad_token");
  apply_settings(config, parts);
  parts.chat_template = read_chat_template(folder, config);
  return parts;
}

}  // namespace leash

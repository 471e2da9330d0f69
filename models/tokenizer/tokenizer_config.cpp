// transformers' rules for the settings beside a tokenizer.
#include "models/tokenizer/tokenizer_config.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "models/errors.h"
#include "models/io/json_file.h"
#include "models/io/mapped_file.h"
#include "models/tokenizer/json_members.h"
#include "models/tokenizer/named_tokens.h"

namespace leash {
namespace {

using nlohmann::json;

constexpr const char* kAddBos = "add_bos_token";
constexpr const char* kAddEos = "add_eos_token";

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

// One byte more than a template may have says that it is too long.
std::string read_template(const std::filesystem::path& file) {
  const auto mapped = MappedFile::open(file);
  const auto bytes = mapped->bytes().first(std::min(mapped->bytes().size(), kMaxTemplateBytes + 1));
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

json object_in(const std::filesystem::path& file) {
  json document = read_json_file(file);
  if (!document.is_object()) throw FormatError(file.string() + ": it holds no JSON object");
  return document;
}

json optional_object(const std::filesystem::path& file) {
  return is_there(file) ? object_in(file) : json::object();
}

int64_t named(std::optional<int64_t> id, const char* setting, const char* token) {
  if (!id) throw FormatError(fmt::format("{} is true, but there is no {}", setting, token));
  return *id;
}

}  // namespace

TokenizerConfig::TokenizerConfig(const std::filesystem::path& folder)
    : folder_(folder),
      config_(optional_object(folder / "tokenizer_config.json")),
      map_(optional_object(folder / "special_tokens_map.json")) {}

bool TokenizerConfig::flag(const char* key, bool otherwise) const {
  return bool_member(config_, key, otherwise);
}

bool TokenizerConfig::says(const char* key) const { return !member(config_, key).is_null(); }

std::vector<AddedToken> TokenizerConfig::added_tokens(const json& listed) const {
  std::vector<AddedToken> tokens;
  std::vector<bool> seen;
  const auto add = [&](const json& entry, int64_t id, bool required) {
    if (!entry.is_object()) throw FormatError(fmt::format("the added token {} is no object", id));
    if (static_cast<size_t>(id) >= seen.size()) seen.resize(static_cast<size_t>(id) + 1);
    if (seen[id] && required) throw FormatError(fmt::format("two added tokens have the id {}", id));
    if (!seen[id]) tokens.push_back(read_added_token(entry, id));
    seen[id] = true;
  };
  if (!listed.is_null() && !listed.is_array()) throw FormatError("added_tokens is no array");
  for (const json& entry : listed) {
    add(entry, token_id_from(entry.is_object() ? member(entry, "id") : json(), "an added token"),
        true);
  }
  // transformers adds what only tokenizer_config.json knows.
  const json& decoder = member(config_, "added_tokens_decoder");
  if (!decoder.is_null() && !decoder.is_object()) {
    throw FormatError("tokenizer_config.json: added_tokens_decoder is no object");
  }
  for (const auto& [key, entry] : decoder.items()) {
    const json number = json::parse(key, nullptr, /*allow_exceptions=*/false);
    add(entry, token_id_from(number, fmt::format("added_tokens_decoder's '{}'", key)), false);
  }
  return tokens;
}

std::optional<int64_t> TokenizerConfig::named_token(const TokenizerParts& parts,
                                                    const char* key) const {
  const json& value = member(config_, key).is_null() ? member(map_, key) : member(config_, key);
  if (value.is_null()) return std::nullopt;
  const json& content = value.is_object() ? member(value, "content") : value;
  if (!content.is_string()) throw FormatError(fmt::format("{} is no string", key));
  const auto id = parts.vocabulary.id(content.get_ref<const std::string&>());
  if (!id) {
    throw FormatError(
        fmt::format("the {} '{}' is not in the vocabulary", key, content.get<std::string>()));
  }
  return id;
}

// Classes that put their own template in the place of the post_processor as soon as one of the two
// settings is written (transformers' update_post_processor).
bool TokenizerConfig::obeys_settings() const {
  const std::string name = string_member(config_, "tokenizer_class").value_or("");
  for (const char* known : {"LlamaTokenizer", "GemmaTokenizer", "CodeLlamaTokenizer"}) {
    if (name == known || name == std::string(known) + "Fast") return true;
  }
  return false;
}

TokenizerConfig::Added TokenizerConfig::sentence_piece_defaults() const {
  const std::string name = string_member(config_, "tokenizer_class").value_or("");
  if (name.empty() || obeys_settings()) return {.bos = true};
  if (name == "T5Tokenizer" || name == "T5TokenizerFast") return {.eos = true};
  throw FormatError(fmt::format(
      "tokenizer_class '{}' is not supported without a tokenizer.json: its ids may be others than "
      "those of tokenizer.model",
      name));
}

// Other classes pass over the settings, or obey them, as transformers' version is: only where both
// come to the same is it known what text gets.
void TokenizerConfig::require_agreement(const char* setting, std::optional<int64_t> token,
                                        const std::vector<int64_t>& added) const {
  if (!says(setting)) return;
  const bool wanted = flag(setting, false);
  const bool there = token && std::ranges::find(added, *token) != added.end();
  if (wanted == there) return;
  throw FormatError(fmt::format(
      "tokenizer_config.json says {}: {}, but the post_processor of tokenizer.json {} that token, "
      "and versions of transformers follow one or the other; make them agree",
      setting, wanted, there ? "adds" : "does not add"));
}

void TokenizerConfig::apply_settings(TokenizerParts& parts) const {
  if (!obeys_settings()) {
    require_agreement(kAddBos, parts.bos, parts.prefix);
    require_agreement(kAddEos, parts.eos, parts.suffix);
    return;
  }
  if (!says(kAddBos) && !says(kAddEos)) return;
  parts.prefix.clear();
  parts.suffix.clear();
  if (flag(kAddBos, true)) parts.prefix.push_back(named(parts.bos, kAddBos, "bos_token"));
  if (flag(kAddEos, false)) parts.suffix.push_back(named(parts.eos, kAddEos, "eos_token"));
}

// chat_template.jinja, or a string, or a list of named templates of which "default" counts.
std::string TokenizerConfig::read_chat_template() const {
  if (is_there(folder_ / "chat_template.jinja")) {
    return read_template(folder_ / "chat_template.jinja");
  }
  const json& value = member(config_, "chat_template");
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

void TokenizerConfig::apply(TokenizerParts& parts) const {
  const auto set = [&](std::optional<int64_t>& id, const char* key) {
    if (const auto found = named_token(parts, key)) id = found;
  };
  set(parts.bos, "bos_token");
  set(parts.eos, "eos_token");
  set(parts.pad, "pad_token");
  apply_settings(parts);
  parts.chat_template = read_chat_template();
  parts.named_tokens = read_named_tokens(config_, map_);
}

}  // namespace leash

#include "models/export/hf_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "models/errors.h"
#include "models/export/pre_tokenizers.h"
#include "models/families/token_id.h"
#include "models/io/atomic_file.h"
#include "models/io/gguf.h"
#include "models/printable.h"
#include "models/tokenizer/gguf_pre_tokenizers.h"

namespace leash {
namespace {

using nlohmann::ordered_json;

// llama.cpp's types of tokens, those that matter here.
constexpr int64_t kUnknown = 2, kControl = 3, kUserDefined = 4, kByteToken = 6;

struct Vocabulary {
  std::vector<std::string> tokens;
  std::vector<int64_t> types;  // empty: all are plain

  int64_t type(size_t id) const { return types.empty() ? 1 : types[id]; }
};

Vocabulary read_tokens(const GgufFile& file) {
  Vocabulary vocabulary{
      .tokens = file.strings("tokenizer.ggml.tokens").value_or(std::vector<std::string>{}),
      .types = file.ints("tokenizer.ggml.token_type").value_or(std::vector<int64_t>{})};
  const bool fits = vocabulary.types.empty() || vocabulary.types.size() == vocabulary.tokens.size();
  if (vocabulary.tokens.empty() || !fits) {
    throw FormatError(file.origin() + ": tokenizer.ggml.tokens or token_type is not complete");
  }
  return vocabulary;
}

ordered_json added_tokens(const Vocabulary& vocabulary) {
  ordered_json added = ordered_json::array();
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const int64_t type = vocabulary.type(id);
    if (type != kUnknown && type != kControl && type != kUserDefined) continue;
    added.push_back({{"id", id},
                     {"content", vocabulary.tokens[id]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", type != kUserDefined}});
  }
  return added;
}

std::optional<std::string> token_of(const GgufFile& file, const Vocabulary& vocabulary,
                                    const char* key) {
  const auto id = unless_none(file.int_value(std::string("tokenizer.ggml.") + key));
  if (!id) return std::nullopt;
  if (*id < 0 || *id >= std::ssize(vocabulary.tokens)) {
    throw FormatError(fmt::format("{}: tokenizer.ggml.{} is {}, and there are {} tokens",
                                  file.origin(), key, *id, vocabulary.tokens.size()));
  }
  return vocabulary.tokens[static_cast<size_t>(*id)];
}

// One token in front of every text, as TemplateProcessing says it.
ordered_json processor_with(const std::string& token, int64_t id) {
  const ordered_json special = {{"SpecialToken", {{"id", token}, {"type_id", 0}}}};
  const auto text = [](const char* name, int type) {
    return ordered_json{{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
  return {{"type", "TemplateProcessing"},
          {"single", ordered_json::array({special, text("A", 0)})},
          {"pair", ordered_json::array({special, text("A", 0), text("B", 1)})},
          {"special_tokens",
           {{token,
             {{"id", token},
              {"ids", ordered_json::array({id})},
              {"tokens", ordered_json::array({token})}}}}}};
}

ordered_json byte_level(bool trim_offsets) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", trim_offsets},
          {"use_regex", false}};
}

ordered_json ids_of_tokens(const GgufFile& file, const Vocabulary& vocabulary) {
  ordered_json::object_t words;  // its own operator[] would look through all of them
  std::unordered_set<std::string_view> seen;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (!seen.insert(vocabulary.tokens[id]).second) {
      throw FormatError(
          fmt::format("{}: two tokens are spelled '{}', which a tokenizer.json cannot say",
                      file.origin(), printable(vocabulary.tokens[id])));
    }
    words.emplace_back(vocabulary.tokens[id], id);
  }
  return words;
}

ordered_json listed_merges(const GgufFile& file) {
  ordered_json merges = ordered_json::array();
  for (const std::string& line :
       file.strings("tokenizer.ggml.merges").value_or(std::vector<std::string>{})) {
    const auto space = line.find(' ');
    if (space == line.npos) {
      throw FormatError(fmt::format("{}: tokenizer.ggml.merges: '{}' is no pair", file.origin(),
                                    printable(line)));
    }
    merges.push_back(ordered_json::array({line.substr(0, space), line.substr(space + 1)}));
  }
  return merges;
}

// SentencePiece's BPE joins the pair whose token has the highest score: merges by rank, as
// transformers' converter makes them.
ordered_json merges_by_score(const GgufFile& file, const Vocabulary& vocabulary) {
  struct Merge {
    std::string left, right;
    double score = 0;
  };
  const auto scores = file.floats("tokenizer.ggml.scores").value_or(std::vector<double>{});
  if (scores.size() != vocabulary.tokens.size()) {
    throw FormatError(file.origin() + ": tokenizer.ggml.scores is not complete");
  }
  constexpr int64_t kNormal = 1;
  std::unordered_map<std::string, size_t> ids;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (vocabulary.type(id) == kNormal) ids.emplace(vocabulary.tokens[id], id);
  }
  std::vector<Merge> merges;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::string& token = vocabulary.tokens[id];
    if (vocabulary.type(id) != kNormal) continue;
    for (size_t cut = 1; cut < token.size(); ++cut) {
      if ((static_cast<unsigned char>(token[cut]) & 0xC0) == 0x80) continue;
      std::string left = token.substr(0, cut), right = token.substr(cut);
      if (!ids.contains(left) || !ids.contains(right)) continue;
      merges.push_back({std::move(left), std::move(right), scores[id]});
    }
  }
  std::ranges::stable_sort(merges, std::ranges::greater{}, &Merge::score);
  ordered_json result = ordered_json::array();
  for (const Merge& merge : merges) {
    result.push_back(ordered_json::array({merge.left, merge.right}));
  }
  return result;
}

ordered_json bpe_model(ordered_json words, ordered_json merges, bool ignore_merges,
                       const ordered_json& unknown) {
  const bool bytes = !unknown.is_null();  // falls back to them
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", unknown},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", bytes},
          {"byte_fallback", bytes},
          {"ignore_merges", ignore_merges},
          {"vocab", std::move(words)},
          {"merges", std::move(merges)}};
}

ordered_json with_surrounding(const GgufFile& file, const Vocabulary& vocabulary, bool adds_bos,
                              const ordered_json& otherwise) {
  if (file.int_value("tokenizer.ggml.add_eos_token").value_or(0) != 0) {
    throw FormatError(file.origin() +
                      ": tokenizer.ggml.add_eos_token is not written to a tokenizer.json");
  }
  if (file.int_value("tokenizer.ggml.add_bos_token").value_or(adds_bos) == 0) return otherwise;
  const auto bos = token_of(file, vocabulary, "bos_token_id");
  if (!bos) throw FormatError(file.origin() + ": text is to get a BOS token that is not named");
  return processor_with(*bos, *file.int_value("tokenizer.ggml.bos_token_id"));
}

ordered_json tokenizer_outline(const Vocabulary& vocabulary) {
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added_tokens(vocabulary)}};
}

ordered_json byte_level_json(const GgufFile& file, const Vocabulary& vocabulary) {
  const std::string pre = file.string_value("tokenizer.ggml.pre").value_or("default");
  const NamedPreTokenizer named = named_pre_tokenizer(pre);
  ordered_json result = tokenizer_outline(vocabulary);
  result["normalizer"] = named.nfc ? ordered_json{{"type", "NFC"}} : ordered_json();
  result["pre_tokenizer"] = pre_tokenizer_steps(pre);
  result["post_processor"] = with_surrounding(file, vocabulary, named.add_bos, byte_level(false));
  result["decoder"] = byte_level(true);
  result["model"] =
      bpe_model(ids_of_tokens(file, vocabulary), listed_merges(file), named.ignore_merges, nullptr);
  return result;
}

// As transformers' converter of SentencePiece's BPE: spaces are U+2581, one in front of a text.
ordered_json scored_json(const GgufFile& file, const Vocabulary& vocabulary) {
  constexpr const char* kSpace = "\xE2\x96\x81";
  const bool prefix = file.int_value("tokenizer.ggml.add_space_prefix").value_or(1) != 0;
  const auto unknown = token_of(file, vocabulary, "unknown_token_id");
  const bool bytes = std::ranges::find(vocabulary.types, kByteToken) != vocabulary.types.end();
  if (!unknown || !bytes) {
    throw FormatError(file.origin() +
                      ": a vocabulary without an unknown token or without bytes is not written as "
                      "a tokenizer.json");
  }
  ordered_json steps = ordered_json::array();
  if (prefix) steps.push_back({{"type", "Prepend"}, {"prepend", kSpace}});
  steps.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSpace}});
  ordered_json decoders = ordered_json::array(
      {{{"type", "Replace"}, {"pattern", {{"String", kSpace}}}, {"content", " "}},
       {{"type", "ByteFallback"}},
       {{"type", "Fuse"}}});
  if (prefix) {
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  ordered_json result = tokenizer_outline(vocabulary);
  result["normalizer"] = {{"type", "Sequence"}, {"normalizers", steps}};
  result["pre_tokenizer"] = nullptr;
  result["post_processor"] = with_surrounding(file, vocabulary, true, nullptr);
  result["decoder"] = {{"type", "Sequence"}, {"decoders", decoders}};
  result["model"] = bpe_model(ids_of_tokens(file, vocabulary), merges_by_score(file, vocabulary),
                              false, *unknown);
  return result;
}

ordered_json tokenizer_config(const GgufFile& file, const Vocabulary& vocabulary) {
  ordered_json config = {
      {"tokenizer_class", "PreTrainedTokenizerFast"},
      {"clean_up_tokenization_spaces", false},
      {"model_max_length",
       file.int_value(file.string_value("general.architecture").value_or("") + ".context_length")
           .value_or(1'000'000)}};
  const std::pair<const char*, const char*> roles[] = {{"bos_token", "bos_token_id"},
                                                       {"eos_token", "eos_token_id"},
                                                       {"unk_token", "unknown_token_id"},
                                                       {"pad_token", "padding_token_id"}};
  for (const auto& [name, key] : roles) {
    if (const auto token = token_of(file, vocabulary, key)) config[name] = *token;
  }
  if (const auto text = file.string_value("tokenizer.chat_template"))
    config["chat_template"] = *text;
  if (const auto tools = file.string_value("tokenizer.chat_template.tool_use")) {
    ordered_json list = ordered_json::array({{{"name", "tool_use"}, {"template", *tools}}});
    if (config.contains("chat_template")) {
      list.push_back({{"name", "default"}, {"template", config["chat_template"]}});
    }
    config["chat_template"] = list;
  }
  return config;
}

}  // namespace

void write_hf_tokenizer(const std::filesystem::path& folder, const std::filesystem::path& gguf) {
  const auto file = GgufFile::open(gguf);
  const std::string kind = file->string_value("tokenizer.ggml.model").value_or("");
  if (kind != "gpt2" && kind != "llama") {
    throw FormatError(fmt::format(
        "{}: a vocabulary of the kind '{}' is not written as a tokenizer.json (BPE, 'gpt2' and "
        "'llama', is): export from the Hugging Face folder of the model, or as gguf",
        gguf.string(), printable(kind)));
  }
  const Vocabulary vocabulary = read_tokens(*file);
  const auto dumped = [](const ordered_json& value, int indent) {
    return value.dump(indent, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  };
  const ordered_json tokenizer =
      kind == "gpt2" ? byte_level_json(*file, vocabulary) : scored_json(*file, vocabulary);
  write_text_file(folder / "tokenizer.json", dumped(tokenizer, 1));
  write_text_file(folder / "tokenizer_config.json", dumped(tokenizer_config(*file, vocabulary), 2));
}

}  // namespace leash

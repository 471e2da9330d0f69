#include "models/export/hf_tokenizer.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "models/errors.h"
#include "models/export/pre_tokenizers.h"
#include "models/families/token_id.h"
#include "models/io/atomic_file.h"
#include "models/io/gguf.h"
#include "models/printable.h"

namespace leash {
namespace {

using nlohmann::ordered_json;

// llama.cpp's types of tokens, those that matter here.
constexpr int64_t kUnknown = 2, kControl = 3, kUserDefined = 4;

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

ordered_json tokenizer_json(const GgufFile& file, const Vocabulary& vocabulary,
                            const PublishedPreTokenizer& splits) {
  ordered_json words = ordered_json::object();
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) words[vocabulary.tokens[id]] = id;
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
  ordered_json result = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added_tokens(vocabulary)},
      {"normalizer", splits.nfc ? ordered_json{{"type", "NFC"}} : ordered_json()},
      {"pre_tokenizer", ordered_json::parse(splits.steps)},
      {"post_processor", byte_level(false)},
      {"decoder", byte_level(true)}};
  const bool adds_bos = splits.ignore_merges;  // what llama.cpp takes for this kind
  if (file.int_value("tokenizer.ggml.add_bos_token").value_or(adds_bos) != 0) {
    const auto bos = token_of(file, vocabulary, "bos_token_id");
    if (!bos) throw FormatError(file.origin() + ": text is to get a BOS token that is not named");
    result["post_processor"] = processor_with(*bos, words[*bos].get<int64_t>());
  }
  if (file.int_value("tokenizer.ggml.add_eos_token").value_or(0) != 0) {
    throw FormatError(file.origin() +
                      ": tokenizer.ggml.add_eos_token is not written to a tokenizer.json");
  }
  result["model"] = {{"type", "BPE"},
                     {"dropout", nullptr},
                     {"unk_token", nullptr},
                     {"continuing_subword_prefix", nullptr},
                     {"end_of_word_suffix", nullptr},
                     {"fuse_unk", false},
                     {"byte_fallback", false},
                     {"ignore_merges", splits.ignore_merges},
                     {"vocab", words},
                     {"merges", merges}};
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
  return config;
}

}  // namespace

void write_hf_tokenizer(const std::filesystem::path& folder, const std::filesystem::path& gguf) {
  const auto file = GgufFile::open(gguf);
  const std::string kind = file->string_value("tokenizer.ggml.model").value_or("");
  if (kind != "gpt2") {
    throw FormatError(fmt::format(
        "{}: a vocabulary of the kind '{}' is not written as a tokenizer.json (byte-level BPE, "
        "'gpt2', is): export from the Hugging Face folder of the model, or as gguf",
        gguf.string(), printable(kind)));
  }
  const std::string pre = file->string_value("tokenizer.ggml.pre").value_or("default");
  const PublishedPreTokenizer* splits = pre_tokenizer_named(pre);
  if (splits == nullptr) {
    throw FormatError(fmt::format(
        "{}: tokenizer.ggml.pre is '{}', whose steps are not written as a tokenizer.json",
        gguf.string(), printable(pre)));
  }
  const Vocabulary vocabulary = read_tokens(*file);
  const auto dumped = [](const ordered_json& value, int indent) {
    return value.dump(indent, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  };
  write_text_file(folder / "tokenizer.json", dumped(tokenizer_json(*file, vocabulary, *splits), 1));
  write_text_file(folder / "tokenizer_config.json", dumped(tokenizer_config(*file, vocabulary), 2));
}

}  // namespace leash

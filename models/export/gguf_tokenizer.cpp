#include "models/export/gguf_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "models/errors.h"
#include "models/export/pre_tokenizers.h"
#include "models/io/json_file.h"
#include "models/printable.h"
#include "models/tokenizer/tokenizer.h"

namespace leash {
namespace {

using nlohmann::json;

// llama.cpp's types of tokens.
enum TokenType : int64_t { kNormal = 1, kUnknownToken, kControlToken, kUserToken, kUnused, kByte };

// Texts of many kinds: scripts and their digits, runs of white space, code, contractions.
constexpr std::array<std::string_view, 12> kProbes = {
    "Hello world, it's 3 o'clock; we'LL see 12345 67 8.",
    "  two spaces,   three\n\n\tand tabs\t\t \r\nend  ",
    "for (int i = 0; i < 10; ++i) { x[i] += 0x1F; } // code",
    "Größe, façade, naïve — “quotes” … 100 %",
    "Привет, мир! 我想在这里 日本語テスト 한국어 مرحبا ١٢٣ हिन्दी १२३",
    "👩‍👩‍👧 🚀🇩🇪 e\u0301",
    "",
    " ",
    "\n",
    "!!!???...---===___",
    "URLs: https://example.org/a?b=c&d=1#e",
    "CamelCase snake_case 1,000.50 'S 'RE I'm you'Ve"};

struct Words {
  std::vector<std::string> tokens;
  std::vector<int64_t> types;
};

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& what) {
  throw FormatError(fmt::format("{}: {}, which a GGUF is not written of", file.string(), what));
}

const json& member(const json& object, const char* key) {
  static const json none;
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() ? *found : none;
}

std::string text(const json& object, const char* key) {
  const json& value = member(object, key);
  return value.is_string() ? value.get<std::string>() : "";
}

void put_token(const std::filesystem::path& file, Words& words, const json& id, std::string token,
               int64_t type) {
  if (!id.is_number_integer() || id.get<int64_t>() < 0 ||
      id.get<int64_t>() >= std::ssize(words.tokens)) {
    throw FormatError(fmt::format("{}: the token '{}' has an id beyond the model's {} rows",
                                  file.string(), printable(token), words.tokens.size()));
  }
  const auto place = id.get<size_t>();
  words.tokens[place] = std::move(token);
  words.types[place] = type;
}

// Ids without a token are named as the converter does.
Words words_of(const json& tokenizer, const std::filesystem::path& file, int64_t size) {
  Words words{.tokens = {}, .types = std::vector<int64_t>(static_cast<size_t>(size), kUnused)};
  for (int64_t id = 0; id < size; ++id) words.tokens.push_back(fmt::format("[PAD{}]", id));
  const json& model = member(tokenizer, "model");
  const bool falls_back = member(model, "byte_fallback") == true;
  const std::string unknown = text(model, "unk_token");
  for (const auto& [token, id] : member(model, "vocab").items()) {
    const bool byte =
        falls_back && token.size() == 6 && token.starts_with("<0x") && token[5] == '>';
    put_token(file, words, id, token, byte ? kByte : token == unknown ? kUnknownToken : kNormal);
  }
  for (const json& added : member(tokenizer, "added_tokens")) {
    const std::string token = text(added, "content");
    const int64_t type = token == unknown                   ? kUnknownToken
                         : member(added, "special") == true ? kControlToken
                                                            : kUserToken;
    put_token(file, words, member(added, "id"), token, type);
  }
  return words;
}

std::vector<std::pair<std::string, std::string>> merges_of(const json& model,
                                                           const std::filesystem::path& file) {
  std::vector<std::pair<std::string, std::string>> merges;
  for (const json& merge : member(model, "merges")) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      merges.emplace_back(merge[0], merge[1]);
      continue;
    }
    const std::string line = merge.is_string() ? merge.get<std::string>() : "";
    const auto space = line.find(' ');
    if (space == line.npos) throw FormatError(file.string() + ": a merge is no pair of tokens");
    merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return merges;
}

void set_byte_level(const json& tokenizer, const std::filesystem::path& file, const Words& words,
                    GgufWriter& writer) {
  const PublishedPreTokenizer* splits = pre_tokenizer_of(tokenizer);
  if (splits == nullptr) {
    refuse(file,
           "its pre_tokenizer is none of those that llama.cpp has a name for and that are "
           "known here (" +
               printable(member(tokenizer, "pre_tokenizer").dump(), 300) + ")");
  }
  writer.string("tokenizer.ggml.model", "gpt2");
  writer.string("tokenizer.ggml.pre", splits->name);
  writer.strings("tokenizer.ggml.tokens", words.tokens);
  writer.i32s("tokenizer.ggml.token_type", words.types);
  std::vector<std::string> lines;
  for (const auto& [left, right] : merges_of(member(tokenizer, "model"), file)) {
    lines.push_back(left + " " + right);
  }
  writer.strings("tokenizer.ggml.merges", lines);
}

// Whether text gets a space in front (SentencePiece's dummy prefix).
bool adds_space(const json& tokenizer) {
  const std::string said = tokenizer.dump();
  const json& pre = member(tokenizer, "pre_tokenizer");
  if (text(pre, "type") == "Metaspace") {
    const std::string scheme = text(pre, "prepend_scheme");
    if (!scheme.empty()) return scheme != "never";
    return member(pre, "add_prefix_space") != false;
  }
  return said.find("\"Prepend\"") != said.npos;
}

// Merges by rank are SentencePiece's merges by score: the earlier the higher.
void set_with_byte_fallback(const json& tokenizer, const std::filesystem::path& file,
                            const Words& words, GgufWriter& writer) {
  constexpr double kAdded = -1000.0;
  std::map<std::string, double> scores;
  const auto merges = merges_of(member(tokenizer, "model"), file);
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    scores.emplace(merges[rank].first + merges[rank].second, -1.0 - static_cast<double>(rank));
  }
  const double last = -1.0 - static_cast<double>(merges.size());
  std::vector<double> list;
  for (size_t id = 0; id < words.tokens.size(); ++id) {
    const auto found = scores.find(words.tokens[id]);
    const bool plain = words.types[id] == kNormal;
    list.push_back(!plain                  ? (words.types[id] == kUserToken ? kAdded : 0.0)
                   : found != scores.end() ? found->second
                                           : last);
  }
  writer.string("tokenizer.ggml.model", "llama");
  writer.string("tokenizer.ggml.pre", "default");
  writer.strings("tokenizer.ggml.tokens", words.tokens);
  writer.f32s("tokenizer.ggml.scores", list);
  writer.i32s("tokenizer.ggml.token_type", words.types);
  writer.boolean("tokenizer.ggml.add_space_prefix", adds_space(tokenizer));
}

// Which of the tokenizer's own tokens stand around a text; the GGUF can say BOS and EOS.
void set_around(const Tokenizer& tokenizer, const std::filesystem::path& file, GgufWriter& writer) {
  const std::vector<int64_t> plain = tokenizer.encode("a"),
                             whole = tokenizer.encode_with_special("a");
  const auto inner = std::ranges::search(whole, plain);
  const std::vector<int64_t> before(whole.begin(), inner.begin()), after(inner.end(), whole.end());
  const auto is_only = [](const std::vector<int64_t>& ids, std::optional<int64_t> id) {
    return ids.empty() || (ids.size() == 1 && id && ids[0] == *id);
  };
  if (inner.empty() || !is_only(before, tokenizer.bos_token_id()) ||
      !is_only(after, tokenizer.eos_token_id())) {
    refuse(file, "its post_processor puts other tokens than BOS and EOS around a text");
  }
  writer.boolean("tokenizer.ggml.add_bos_token", !before.empty());
  writer.boolean("tokenizer.ggml.add_eos_token", !after.empty());
}

void set_ids(const Tokenizer& tokenizer, const DecoderConfig& config, GgufWriter& writer) {
  const auto bos = tokenizer.bos_token_id() ? tokenizer.bos_token_id() : config.bos_token_id;
  if (bos) writer.u32("tokenizer.ggml.bos_token_id", *bos);
  std::vector<int64_t> ends;
  if (tokenizer.eos_token_id()) ends.push_back(*tokenizer.eos_token_id());
  for (const int64_t id : config.eos_token_ids) {
    if (std::ranges::find(ends, id) == ends.end()) ends.push_back(id);
  }
  constexpr std::array<const char*, 3> kEnds = {"eos_token_id", "eot_token_id", "eom_token_id"};
  for (size_t i = 0; i < std::min(ends.size(), kEnds.size()); ++i) {
    writer.u32(std::string("tokenizer.ggml.") + kEnds[i], ends[i]);
  }
  const auto pad = tokenizer.pad_token_id() ? tokenizer.pad_token_id() : config.pad_token_id;
  if (pad) writer.u32("tokenizer.ggml.padding_token_id", *pad);
}

}  // namespace

void set_gguf_tokenizer(const std::filesystem::path& folder, const DecoderConfig& config,
                        GgufWriter& writer) {
  const auto file = folder / "tokenizer.json";
  std::error_code error;
  if (!std::filesystem::exists(file, error)) {
    throw FormatError(folder.string() +
                      ": has no tokenizer.json, of which a GGUF's vocabulary is made");
  }
  const json tokenizer = read_json_file(file);
  const json& model = member(tokenizer, "model");
  const Words words = words_of(tokenizer, file, config.vocab_size);
  const std::string decoder = member(tokenizer, "decoder").dump();
  if (text(model, "type") != "BPE") {
    refuse(file, "its model is '" + printable(text(model, "type")) + "', not BPE");
  }
  if (member(model, "byte_fallback") == true) {
    set_with_byte_fallback(tokenizer, file, words, writer);
  } else if (decoder.find("ByteLevel") != decoder.npos) {
    set_byte_level(tokenizer, file, words, writer);
  } else {
    refuse(file, "its BPE is neither byte-level nor with byte fallback");
  }
  const Tokenizer own = Tokenizer::load(folder);
  set_around(own, file, writer);
  set_ids(own, config, writer);
  if (!own.chat_template().empty()) writer.string("tokenizer.chat_template", own.chat_template());
}

void require_same_ids(const std::filesystem::path& model, const std::filesystem::path& other) {
  const Tokenizer ours = Tokenizer::load(model), theirs = Tokenizer::load(other);
  for (const std::string_view probe : kProbes) {
    if (ours.encode_with_special(probe) == theirs.encode_with_special(probe)) continue;
    throw FormatError(fmt::format(
        "{}: the tokenizer cannot be said in the other format: it gives other ids there for '{}'",
        model.string(), printable(probe)));
  }
}

}  // namespace leash

// Regular expressions from the tokenizer.json files of the models that the names stand for, and
// from llama.cpp's src/llama-vocab.cpp.
#include "models/export/pre_tokenizers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>
#include <random>
#include <string_view>
#include <vector>

#include "models/errors.h"
#include "models/tokenizer/gguf_pre_tokenizers.h"
#include "models/tokenizer/json_steps.h"

namespace leash {
namespace {

using nlohmann::json;

struct PublishedPreTokenizer {
  std::string_view name;   // tokenizer.ggml.pre
  std::string_view steps;  // the model's own
  bool ignore_merges = false;
};

constexpr const char* kByteLevel =
    R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true})";
constexpr const char* kSmolLm = R"({"type": "Sequence", "pretokenizers": [
  {"type": "Digits", "individual_digits": true},
  {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]})";
constexpr const char* kLlama3 = R"J({"type": "Sequence", "pretokenizers": [
  {"type": "Split", "pattern": {"Regex": "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
   "behavior": "Isolated", "invert": false},
  {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]})J";
constexpr const char* kQwen2 = R"J({"type": "Sequence", "pretokenizers": [
  {"type": "Split", "pattern": {"Regex": "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
   "behavior": "Isolated", "invert": false},
  {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}]})J";

// The first row of several with the same steps is the one that is written.
constexpr std::array<PublishedPreTokenizer, 9> kRows = {{
    {.name = "gpt-2", .steps = kByteLevel},
    {.name = "smollm", .steps = kSmolLm},
    {.name = "llama-bpe", .steps = kLlama3, .ignore_merges = true},
    {.name = "qwen2", .steps = kQwen2},
    {.name = "starcoder", .steps = kSmolLm},
    {.name = "refact", .steps = kSmolLm},
    {.name = "phi-2", .steps = kByteLevel},
    {.name = "llama3", .steps = kLlama3, .ignore_merges = true},
    {.name = "llama-v3", .steps = kLlama3, .ignore_merges = true},
}};

// The steps without what changes no split: trim_offsets, and a Sequence of one.
std::vector<json> plain_steps(const json& pre_tokenizer) {
  if (!pre_tokenizer.is_object()) return {};
  if (pre_tokenizer.value("type", "") == "Sequence") {
    std::vector<json> steps;
    const auto list = pre_tokenizer.find("pretokenizers");
    if (list == pre_tokenizer.end() || !list->is_array()) return {};
    for (const json& step : *list) {
      const auto inner = plain_steps(step);
      if (inner.empty()) return {};
      steps.insert(steps.end(), inner.begin(), inner.end());
    }
    return steps;
  }
  json step = pre_tokenizer;
  step.erase("trim_offsets");
  if (step.value("type", "") == "ByteLevel" && !step.contains("use_regex"))
    step["use_regex"] = true;
  return {step};
}

bool ignores_merges(const json& tokenizer) {
  const auto model = tokenizer.find("model");
  return model != tokenizer.end() && model->is_object() && model->value("ignore_merges", false);
}

bool composes(const json& tokenizer) {
  const auto normalizer = tokenizer.find("normalizer");
  return normalizer != tokenizer.end() && normalizer->dump().find("\"NFC\"") != std::string::npos;
}

// What expressions tell apart: letters by case and kind, marks, numbers, punctuation, symbols,
// white space, scripts with rules of their own, and words that some treat by themselves.
constexpr std::array<const char*, 66> kLetters = {
    "a",  "b",  "s", "t", "Z",      "L",  "é",      "ß",      "Ǆ",  "ǅ",  "ʰ",  "ª",  "λ",  "Ω",
    "ж",  "Ж",  "ا", "ה", "\u0301", "ि",  "न",      "ก",      "中", "龥", "㐀", "ひ", "カ", "ー",
    "한", "ㄱ", "0", "1", "7",      "9",  "٣",      "३",      "²",  "Ⅷ",  "½",  ".",  ",",  "!",
    "?",  "-",  "_", "'", "’",      "\"", "(",      "/",      "。", "，", "…",  "$",  "+",  "=",
    "^",  "`",  "€", "😀", "\u200D", " ",  "\u00A0", "\u3000", "\n", "\r"};
constexpr std::array<const char*, 14> kWords = {"'s",    "'LL",   "'re",  "  ",  "   ",
                                                "\t",    "\n\n",  "\r\n", "123", "4567",
                                                "hello", "World", " the", "://"};

std::string drawn_text(std::minstd_rand& draws) {
  const size_t length = draws() % 40 + 1;
  std::string text;
  for (size_t i = 0; i < length; ++i) {
    text +=
        draws() % 4 == 0 ? kWords[draws() % kWords.size()] : kLetters[draws() % kLetters.size()];
  }
  return text;
}

bool splits_alike(const PreTokenizer& a, const PreTokenizer& b) {
  constexpr int kTexts = 4000;
  std::minstd_rand draws(1);
  for (int i = 0; i < kTexts; ++i) {
    const std::string text = drawn_text(draws);
    std::deque<std::string> storage;
    const auto ours = a.split({text, true}, storage), theirs = b.split({text, true}, storage);
    if (!std::ranges::equal(ours, theirs, {}, &TextPiece::text, &TextPiece::text)) return false;
  }
  return true;
}

std::optional<std::string> name_by_splits(const json& tokenizer, const json& steps) {
  ReadPreTokenizer read;
  try {
    read = read_pre_tokenizer(steps);
  } catch (const FormatError&) {
    return std::nullopt;
  }
  if (!read.ends_in_bytes) return std::nullopt;
  for (const std::string& name : distinct_pre_tokenizers()) {
    const NamedPreTokenizer named = named_pre_tokenizer(name);
    const bool alike = !named.raw && named.ignore_merges == ignores_merges(tokenizer) &&
                       named.nfc == composes(tokenizer);
    if (alike && splits_alike(named.pre_tokenizer, read.steps)) return name;
  }
  return std::nullopt;
}

const PublishedPreTokenizer* published_by_name(std::string_view name) {
  const auto found = std::ranges::find(kRows, name, &PublishedPreTokenizer::name);
  return found == kRows.end() ? nullptr : &*found;
}

}  // namespace

std::optional<std::string> pre_tokenizer_of(const json& tokenizer) {
  const auto said = tokenizer.find("pre_tokenizer");
  if (said == tokenizer.end()) return std::nullopt;
  const std::vector<json> steps = plain_steps(*said);
  if (steps.empty()) return std::nullopt;
  for (const PublishedPreTokenizer& row : kRows) {
    if (plain_steps(json::parse(row.steps)) == steps &&
        row.ignore_merges == ignores_merges(tokenizer)) {
      return std::string(row.name);
    }
  }
  return name_by_splits(tokenizer, *said);
}

nlohmann::ordered_json pre_tokenizer_steps(const std::string& name) {
  if (const auto* row = published_by_name(name)) return nlohmann::ordered_json::parse(row->steps);
  const NamedPreTokenizer named = named_pre_tokenizer(name);
  if (named.raw) {
    throw FormatError(
        fmt::format("tokenizer.ggml.pre is '{}', whose tokens are not spelled in bytes", name));
  }
  auto steps = nlohmann::ordered_json::array();
  for (const std::string& expression : named.expressions) {
    steps.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", expression}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  }
  steps.push_back({{"type", "ByteLevel"},
                   {"add_prefix_space", false},
                   {"trim_offsets", true},
                   {"use_regex", false}});
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

}  // namespace leash

// Regular expressions from the tokenizer.json files of the models that the names stand for, and
// from llama.cpp's src/llama-vocab.cpp.
#include "models/export/pre_tokenizers.h"

#include <algorithm>
#include <array>
#include <vector>

namespace leash {
namespace {

using nlohmann::json;

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
    {.name = "qwen2", .steps = kQwen2, .nfc = true},
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

}  // namespace

const PublishedPreTokenizer* pre_tokenizer_named(std::string_view name) {
  const auto found = std::ranges::find(kRows, name, &PublishedPreTokenizer::name);
  return found == kRows.end() ? nullptr : &*found;
}

const PublishedPreTokenizer* pre_tokenizer_of(const json& tokenizer) {
  const auto said = tokenizer.find("pre_tokenizer");
  if (said == tokenizer.end()) return nullptr;
  const std::vector<json> steps = plain_steps(*said);
  if (steps.empty()) return nullptr;
  for (const PublishedPreTokenizer& row : kRows) {
    if (plain_steps(json::parse(row.steps)) == steps &&
        row.ignore_merges == ignores_merges(tokenizer)) {
      return &row;
    }
  }
  return nullptr;
}

}  // namespace leash

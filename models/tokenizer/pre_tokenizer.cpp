// The steps of pre-tokenizing, and the pre-tokenizers that GGUF files know by name.
#include "models/tokenizer/pre_tokenizer.h"

#include <fmt/core.h>

#include <algorithm>

#include "models/errors.h"

namespace leash {
namespace {

constexpr const char* kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
// Llama 3's (digits in threes) and Qwen 2's (digits alone), as in their tokenizer.json.
constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
// llama.cpp's for files that name none: punctuation and a few symbols, GPT-2, digits in threes.
constexpr const char* kDefaultPunctuation = R"([\p{P}$+<=>^~|]+)";
constexpr const char* kThreeDigits = "[0-9][0-9][0-9]";

enum class Kind { smollm, gpt2, llama3, qwen2, plain_default };

struct NamedStep {
  const char* name;
  Kind kind;
};
constexpr NamedStep kRows[] = {
    {"smollm", Kind::smollm},    {"starcoder", Kind::smollm}, {"refact", Kind::smollm},
    {"command-r", Kind::smollm}, {"codeshell", Kind::smollm}, {"gpt-2", Kind::gpt2},
    {"gpt2", Kind::gpt2},        {"phi-2", Kind::gpt2},       {"mpt", Kind::gpt2},
    {"olmo", Kind::gpt2},        {"llama-bpe", Kind::llama3}, {"llama3", Kind::llama3},
    {"llama-v3", Kind::llama3},  {"qwen2", Kind::qwen2},      {"default", Kind::plain_default}};

Splitter isolate(const std::string& pattern) { return {Regex(pattern)}; }

}  // namespace

std::vector<std::string_view> PreTokenizer::split(std::string_view text,
                                                  std::deque<std::string>& storage) const {
  std::vector<std::string_view> parts{text};
  std::vector<std::string_view> next;
  for (const Step& step : steps_) {
    next.clear();
    for (const std::string_view part : parts) {
      if (step.splitter) {
        split_text(*step.splitter, part, next);
      } else if (part.starts_with(' ')) {
        next.push_back(part);
      } else {
        next.push_back(storage.emplace_back(" ").append(part));
      }
    }
    parts.swap(next);
  }
  return parts;
}

Splitter gpt2_splitter() { return isolate(kGpt2); }

Splitter digits_splitter(bool individual) {
  return {Regex(R"(\p{N})"), individual ? SplitBehavior::isolated : SplitBehavior::contiguous};
}

NamedPreTokenizer named_pre_tokenizer(const std::string& name) {
  const NamedStep* row =
      std::ranges::find_if(kRows, [&](const NamedStep& r) { return r.name == name; });
  if (row == std::end(kRows)) {
    std::string known;
    for (const NamedStep& r : kRows)
      known += fmt::format("{}{}", known.empty() ? "" : ", ", r.name);
    throw FormatError(
        fmt::format("tokenizer.ggml.pre is '{}', a pre-tokenizer that is not supported (known: {})",
                    name, known));
  }
  NamedPreTokenizer result;
  PreTokenizer& steps = result.pre_tokenizer;
  switch (row->kind) {
    case Kind::smollm:
      steps.add_split(digits_splitter(/*individual=*/true));
      steps.add_split(gpt2_splitter());
      break;
    case Kind::gpt2:
      steps.add_split(gpt2_splitter());
      break;
    case Kind::llama3:
      steps.add_split(isolate(kLlama3));
      result.ignore_merges = true;
      result.add_bos = true;
      break;
    case Kind::qwen2:
      steps.add_split(isolate(kQwen2));
      result.nfc = true;
      break;
    case Kind::plain_default:
      steps.add_split(isolate(kDefaultPunctuation));
      steps.add_split(gpt2_splitter());
      steps.add_split(isolate(R"(\p{N}+)"));
      steps.add_split(isolate(kThreeDigits));
      break;
  }
  return result;
}

}  // namespace leash

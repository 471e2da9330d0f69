// tokenizer.json's pre_tokenizer: one branch for each kind.
#include <fmt/core.h>

#include "models/errors.h"
#include "models/tokenizer/json_members.h"
#include "models/tokenizer/json_steps.h"

namespace leash {
namespace {

using nlohmann::json;

SplitBehavior read_behavior(const json& split, const char* otherwise) {
  static const std::pair<const char*, SplitBehavior> kNames[] = {
      {"Removed", SplitBehavior::removed},
      {"Isolated", SplitBehavior::isolated},
      {"MergedWithPrevious", SplitBehavior::merged_with_previous},
      {"MergedWithNext", SplitBehavior::merged_with_next},
      {"Contiguous", SplitBehavior::contiguous}};
  const std::string name = string_member(split, "behavior").value_or(otherwise);
  for (const auto& [known, behavior] : kNames) {
    if (name == known) return behavior;
  }
  throw FormatError(
      fmt::format("the pre_tokenizer {} has the unknown behavior '{}'", type_of(split), name));
}

// All kinds but ByteLevel.
void add_step(const json& step, PreTokenizer& steps) {
  const std::string type = type_of(step);
  if (type == "Digits") {
    steps.add_split(pre_tokenizers::digits(bool_member(step, "individual_digits", false)));
  } else if (type == "Split") {
    steps.add_split({json_steps::read_pattern(step), read_behavior(step, ""),
                     bool_member(step, "invert", false)});
  } else if (type == "Punctuation") {
    steps.add_split(pre_tokenizers::punctuation(read_behavior(step, "Isolated")));
  } else if (type == "Whitespace") {
    steps.add(pre_tokenizers::words());
  } else if (type == "WhitespaceSplit") {
    steps.add_split(pre_tokenizers::white_space());
  } else if (type == "BertPreTokenizer") {
    steps.add_split(pre_tokenizers::white_space());
    steps.add_split(pre_tokenizers::punctuation(SplitBehavior::isolated));
  } else if (type == "CharDelimiterSplit") {
    steps.add_split(
        {Regex::literal(json_steps::read_char(step, "delimiter")), SplitBehavior::removed});
  } else if (type == "Metaspace") {
    steps.add(pre_tokenizers::metaspace(json_steps::read_metaspace(step)));
  } else if (type == "FixedLength") {
    const int64_t length = size_member(step, "length", 5);
    if (length == 0) throw FormatError("the pre_tokenizer FixedLength has the length 0");
    steps.add(pre_tokenizers::fixed_length(static_cast<size_t>(length)));
  } else {
    json_steps::refuse("pre_tokenizer", type);
  }
}

}  // namespace

ReadPreTokenizer read_pre_tokenizer(const json& pre_tokenizer) {
  ReadPreTokenizer result;
  for (const json& step : json_steps::flattened(pre_tokenizer, "pretokenizers")) {
    // Only the last step's spelling can be left out.
    if (std::exchange(result.ends_in_bytes, false)) result.steps.add(pre_tokenizers::byte_level());
    if (type_of(step) != "ByteLevel") {
      add_step(step, result.steps);
      continue;
    }
    if (bool_member(step, "add_prefix_space", true)) {
      result.steps.add(pre_tokenizers::prefix_space());
    }
    if (bool_member(step, "use_regex", true)) result.steps.add_split(pre_tokenizers::gpt2());
    result.ends_in_bytes = true;
  }
  return result;
}

}  // namespace leash

// One function for each component, and one branch for each kind of it.
#include "models/tokenizer/json_steps.h"

#include <fmt/core.h>

#include <string>
#include <utility>

#include "models/errors.h"
#include "models/tokenizer/json_members.h"

namespace leash {
namespace {

using nlohmann::json;

const json& list_of(const json& component, const char* key) {
  const auto found = component.find(key);
  if (found == component.end() || !found->is_array()) {
    throw FormatError(fmt::format("a Sequence without the array '{}'", key));
  }
  return *found;
}

[[noreturn]] void refuse(const char* component, const std::string& type) {
  throw FormatError(fmt::format("the {} '{}' is not supported", component, type));
}

// The parts of a component: itself, or what a Sequence holds. Not nested deeper.
std::vector<json> flattened(const json& component, const char* key) {
  if (component.is_null()) return {};
  if (type_of(component) != "Sequence") return {component};
  return list_of(component, key).get<std::vector<json>>();
}

SplitBehavior read_behavior(const json& split) {
  static const std::pair<const char*, SplitBehavior> kNames[] = {
      {"Removed", SplitBehavior::removed},
      {"Isolated", SplitBehavior::isolated},
      {"MergedWithPrevious", SplitBehavior::merged_with_previous},
      {"MergedWithNext", SplitBehavior::merged_with_next},
      {"Contiguous", SplitBehavior::contiguous}};
  const std::string name = string_member(split, "behavior").value_or("");
  for (const auto& [known, behavior] : kNames) {
    if (name == known) return behavior;
  }
  throw FormatError(fmt::format("the pre_tokenizer Split has the unknown behavior '{}'", name));
}

Splitter read_split(const json& split) {
  const auto pattern = split.find("pattern");
  if (pattern == split.end() || !pattern->is_object()) {
    throw FormatError("the pre_tokenizer Split has no pattern");
  }
  const auto regex = string_member(*pattern, "Regex");
  const auto text = string_member(*pattern, "String");
  if (!regex && !text) throw FormatError("the pre_tokenizer Split has no pattern");
  return {regex ? Regex(*regex) : Regex::literal(*text), read_behavior(split),
          bool_member(split, "invert", false)};
}

// The ids under which a template's special token is listed.
void append_template_token(const json& special_tokens, const json& item,
                           std::vector<int64_t>& ids) {
  const std::string name = string_member(item, "id").value_or("");
  const auto entry = special_tokens.find(name);
  if (entry == special_tokens.end() || !entry->is_object() || !entry->contains("ids") ||
      !(*entry)["ids"].is_array()) {
    throw FormatError(fmt::format("post_processor: '{}' is not among its special_tokens", name));
  }
  for (const json& id : (*entry)["ids"]) ids.push_back(token_id_from(id, "post_processor's token"));
}

SurroundingTokens read_template(const json& processor) {
  const auto single = processor.find("single");
  if (single == processor.end() || !single->is_array()) {
    throw FormatError("the post_processor TemplateProcessing has no template 'single'");
  }
  const json tokens = processor.value("special_tokens", json::object());
  if (!tokens.is_object()) throw FormatError("post_processor: special_tokens is no object");
  SurroundingTokens around;
  int sequences = 0;
  for (const json& item : *single) {
    if (!item.is_object()) throw FormatError("post_processor: a template item is no object");
    if (item.contains("Sequence")) {
      ++sequences;
    } else if (item.contains("SpecialToken") && item["SpecialToken"].is_object()) {
      append_template_token(tokens, item["SpecialToken"],
                            sequences == 0 ? around.before : around.behind);
    } else {
      throw FormatError("post_processor: a template item of an unknown kind");
    }
  }
  if (sequences != 1) throw FormatError("post_processor: the template needs the text once");
  return around;
}

}  // namespace

bool read_normalizer(const json& normalizer) {
  bool nfc = false;
  for (const json& step : flattened(normalizer, "normalizers")) {
    if (type_of(step) != "NFC") refuse("normalizer", type_of(step));
    nfc = true;
  }
  return nfc;
}

PreTokenizer read_pre_tokenizer(const json& pre_tokenizer) {
  PreTokenizer result;
  bool byte_level = false;
  for (const json& step : flattened(pre_tokenizer, "pretokenizers")) {
    const std::string type = type_of(step);
    // ByteLevel changes the text's spelling, so that later steps would see other characters.
    if (byte_level) refuse("pre_tokenizer behind ByteLevel", type);
    if (type == "Digits") {
      result.add_split(digits_splitter(bool_member(step, "individual_digits", false)));
    } else if (type == "Split") {
      result.add_split(read_split(step));
    } else if (type == "ByteLevel") {
      byte_level = true;
      if (bool_member(step, "add_prefix_space", true)) result.add_prefix_space();
      if (bool_member(step, "use_regex", true)) result.add_split(gpt2_splitter());
    } else {
      refuse("pre_tokenizer", type);
    }
  }
  if (!byte_level) {
    throw FormatError("it has no ByteLevel pre_tokenizer; only byte-level BPE is supported");
  }
  return result;
}

SurroundingTokens read_post_processor(const json& post_processor) {
  SurroundingTokens around;
  for (const json& step : flattened(post_processor, "processors")) {
    const std::string type = type_of(step);
    if (type == "ByteLevel") continue;  // concerns offsets only
    if (type != "TemplateProcessing") refuse("post_processor", type);
    // A later template wraps what an earlier one made.
    SurroundingTokens outer = read_template(step);
    outer.before.insert(outer.before.end(), around.before.begin(), around.before.end());
    around.behind.insert(around.behind.end(), outer.behind.begin(), outer.behind.end());
    around.before = std::move(outer.before);
  }
  return around;
}

void check_decoder(const json& decoder) {
  for (const json& step : flattened(decoder, "decoders")) {
    if (type_of(step) != "ByteLevel") refuse("decoder", type_of(step));
  }
}

}  // namespace leash

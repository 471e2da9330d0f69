// tokenizer.json's post_processor, as far as it adds tokens to one text.
#include <fmt/core.h>

#include "models/errors.h"
#include "models/tokenizer/json_members.h"
#include "models/tokenizer/json_steps.h"

namespace leash {
namespace {

using nlohmann::json;

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

// ["[SEP]", 102]
int64_t named_id(const json& processor, const char* key) {
  const json& pair = member(processor, key);
  if (!pair.is_array() || pair.size() != 2) {
    throw FormatError(
        fmt::format("the post_processor {} has no '{}' with an id", type_of(processor), key));
  }
  return token_id_from(pair[1], fmt::format("post_processor's {}", key));
}

}  // namespace

SurroundingTokens read_post_processor(const json& post_processor) {
  SurroundingTokens around;
  for (const json& step : json_steps::flattened(post_processor, "processors")) {
    const std::string type = type_of(step);
    if (type == "ByteLevel") continue;  // concerns offsets only
    SurroundingTokens outer;
    if (type == "TemplateProcessing") {
      outer = read_template(step);
    } else if (type == "BertProcessing" || type == "RobertaProcessing") {
      outer = {{named_id(step, "cls")}, {named_id(step, "sep")}};
    } else {
      json_steps::refuse("post_processor", type);
    }
    // A later one wraps what an earlier one made.
    outer.before.insert(outer.before.end(), around.before.begin(), around.before.end());
    around.behind.insert(around.behind.end(), outer.behind.begin(), outer.behind.end());
    around.before = std::move(outer.before);
  }
  return around;
}

}  // namespace leash

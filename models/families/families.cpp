// config.json to DecoderConfig. What transformers ignores for a family is ignored here too; what
// changes its computation is either mapped or refused.
#include "models/families/families.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "models/families/ignored_fields.h"
#include "models/families/token_id.h"
#include "models/json_fields.h"
#include "models/notices.h"

namespace leash {

namespace {

constexpr int64_t kDefaultLabels = 2;

int64_t num_labels(const JsonFields& config) {
  const auto* architectures = config.find("architectures");
  if (architectures == nullptr || !architectures->is_array()) return 0;
  for (const auto& name : *architectures) {
    if (!name.is_string() ||
        !name.get_ref<const std::string&>().ends_with("ForSequenceClassification")) {
      continue;
    }
    if (const auto labels = config.object("id2label")) {
      return static_cast<int64_t>(config.find("id2label")->size());
    }
    return config.integer("num_labels").value_or(kDefaultLabels);
  }
  return 0;
}

std::vector<int64_t> without_none(std::vector<int64_t> ids) {
  std::erase_if(ids, [](int64_t id) { return !unless_none(id); });
  return ids;
}

void read_token_ids(const JsonFields& json, const Family& family, DecoderConfig& config) {
  // A default that the vocabulary does not have is none.
  const auto assumed = [&](const char* key, std::optional<int64_t> id) {
    return json.is_null(key) || (id && *id >= config.vocab_size) ? std::nullopt : id;
  };
  const auto id_of = [&](const char* key, std::optional<int64_t> otherwise) {
    const auto said = json.integer(key);
    return unless_none(said ? said : assumed(key, otherwise));
  };
  config.bos_token_id = id_of("bos_token_id", family.bos_token_id);
  config.pad_token_id = id_of("pad_token_id", family.pad_token_id);
  if (const auto ids = json.integers("eos_token_id")) {
    config.eos_token_ids = without_none(*ids);
  } else if (const auto id = assumed("eos_token_id", family.eos_token_id)) {
    config.eos_token_ids = {*id};
  }
}

// What would change every family's computation.
void refuse_what_is_not_supported(const JsonFields& json) {
  for (const char* key : {"quantization_config", "compression_config"}) {
    if (json.has(key)) {
      json.fail(fmt::format("the weights are quantised ({}), which is not supported here", key));
    }
  }
  for (const char* key : {"is_encoder_decoder", "add_cross_attention", "rope_interleaved"}) {
    if (json.boolean(key).value_or(false)) json.fail(fmt::format("{} is not supported", key));
  }
  if (!json.boolean("is_causal").value_or(true)) json.fail("is_causal: false is not supported");
  for (const char* key : {"num_experts", "num_local_experts", "n_routed_experts"}) {
    if (json.integer(key).value_or(0) > 1) {
      json.fail(fmt::format("{}: mixtures of experts are not supported", key));
    }
  }
  for (const char* key : {"pruned_heads", "per_layer_config"}) {
    const auto* value = json.find(key);
    if (value != nullptr && !value->empty()) json.fail(fmt::format("{} is not supported", key));
  }
}

// What holds for every family, from the fields that describe the decoder.
DecoderConfig read_decoder(const JsonFields& json, const Family& family) {
  refuse_what_is_not_supported(json);
  DecoderConfig config;
  config.family = family.model_type;
  config.initializer_range = json.number("initializer_range").value_or(config.initializer_range);
  family.read(json, config);
  config.tie_word_embeddings =
      json.boolean("tie_word_embeddings").value_or(family.tie_word_embeddings);
  read_token_ids(json, family, config);
  return config;
}

// Gemma 3 that sees: its text_config is what a gemma3_text file says. Ids that stand outside count,
// as files that leave them to the outside show.
DecoderConfig read_text_part(const JsonFields& json, const Family& family) {
  refuse_what_is_not_supported(json);
  const auto text = json.object("text_config");
  if (!text) json.fail("'text_config' is missing");
  if (text->string("model_type").value_or("gemma3_text") != "gemma3_text") {
    text->fail("model_type must be gemma3_text");
  }
  DecoderConfig config = read_decoder(*text, family);
  const bool tied = json.boolean("tie_word_embeddings").value_or(family.tie_word_embeddings);
  if (tied != config.tie_word_embeddings) {
    json.fail("tie_word_embeddings differs between the text's and the whole configuration");
  }
  if (config.logit_softcap != 0) {
    config.logit_softcap = 0;
    notice_once(fmt::format(
        "{}: text_config's final_logit_softcapping is not applied, as in transformers' class",
        json.origin()));
  }
  if (const auto ids = json.integers("eos_token_id")) config.eos_token_ids = without_none(*ids);
  if (const auto id = json.integer("bos_token_id")) config.bos_token_id = unless_none(id);
  tell_of_ignored_fields(*text);
  notice_once(fmt::format("{}: of a model that sees, the text's part is used", json.origin()));
  return config;
}

}  // namespace

DecoderConfig config_from_json(const nlohmann::json& config, const std::string& origin) {
  const JsonFields json(config, origin);
  const auto model_type = json.string("model_type");
  if (!model_type) json.fail("'model_type' is missing");
  const Family& family = family_of_model_type(*model_type, origin);
  DecoderConfig result =
      *model_type == "gemma3" ? read_text_part(json, family) : read_decoder(json, family);
  result.num_labels = num_labels(json);
  check(result, origin);
  tell_of_ignored_fields(json);
  return result;
}

void apply_generation_config(const nlohmann::json& generation, const std::string& origin,
                             DecoderConfig& config) {
  const JsonFields json(generation, origin);
  if (auto ids = json.integers("eos_token_id"))
    config.eos_token_ids = without_none(std::move(*ids));
  if (!config.bos_token_id) config.bos_token_id = unless_none(json.integer("bos_token_id"));
  // A sequence classifier reads its score by config.json's padding alone.
  if (!config.pad_token_id && config.num_labels == 0)
    config.pad_token_id = unless_none(json.integer("pad_token_id"));
  check(config, origin);
}

}  // namespace leash

#include "models/export/hf_config.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "models/errors.h"
#include "models/export/made_config.h"
#include "models/families/families.h"
#include "models/io/json_file.h"

namespace leash {
namespace {

using nlohmann::ordered_json;

std::string_view dtype_name(at::ScalarType dtype) {
  switch (dtype) {
    case at::kHalf:
      return "float16";
    case at::kBFloat16:
      return "bfloat16";
    default:
      return "float32";
  }
}

void set_labels(int64_t count, ordered_json& config) {
  const auto named = config.find("id2label");
  if (named != config.end() && named->is_object() && std::ssize(*named) == count) return;
  ordered_json names = ordered_json::object(), numbers = ordered_json::object();
  for (int64_t i = 0; i < count; ++i) {
    const std::string label = fmt::format("LABEL_{}", i);
    names[std::to_string(i)] = label;
    numbers[label] = i;
  }
  config["id2label"] = names;
  config["label2id"] = numbers;
}

std::optional<ordered_json> own_config(const std::filesystem::path& folder) {
  std::error_code error;
  const auto file = folder / "config.json";
  if (!std::filesystem::exists(file, error)) return std::nullopt;
  return ordered_json(read_json_file(file));
}

}  // namespace

ordered_json hf_config(const Checkpoint& merged, at::ScalarType dtype) {
  const std::string origin = merged.path.string();
  const DecoderConfig& facts = merged.config;
  ordered_json config = own_config(merged.path).value_or(ordered_json());
  if (config.is_null()) config = made_config(facts, origin);
  const bool classifies = facts.num_labels > 0;
  const auto said = config.find("architectures");
  const bool classified = said != config.end() && said->is_array() && !said->empty() &&
                          (*said)[0].is_string() &&
                          (*said)[0].get<std::string>().ends_with("ForSequenceClassification");
  if (classifies != classified || said == config.end()) {
    config["architectures"] = {class_name(facts, origin)};
  }
  if (classifies) set_labels(facts.num_labels, config);
  // A file without the entry means the family's default.
  if (!classifies) config["tie_word_embeddings"] = facts.tie_word_embeddings;
  config.erase("dtype");
  config["torch_dtype"] = dtype_name(dtype);

  DecoderConfig read = config_from_json(nlohmann::json(config), origin);
  if (classifies) read.tie_word_embeddings = facts.tie_word_embeddings;
  if (const auto fact = different_fact(read, facts)) {
    throw FormatError(fmt::format("{}: config.json of a {} model does not say the model's {}",
                                  origin, facts.family, *fact));
  }
  return config;
}

ordered_json hf_generation_config(const DecoderConfig& config) {
  ordered_json generation = ordered_json::object();
  if (config.bos_token_id) generation["bos_token_id"] = *config.bos_token_id;
  if (!config.eos_token_ids.empty()) generation["eos_token_id"] = token_ids(config.eos_token_ids);
  if (config.pad_token_id) generation["pad_token_id"] = *config.pad_token_id;
  return generation;
}

}  // namespace leash

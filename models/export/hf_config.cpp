#include "models/export/hf_config.h"

#include <fmt/format.h>

#include <array>
#include <filesystem>
#include <system_error>

#include "models/errors.h"
#include "models/families/families.h"
#include "models/io/json_file.h"

namespace leash {
namespace {

using nlohmann::ordered_json;

struct ModelClass {
  std::string_view model_type;
  std::string_view name;  // before "ForCausalLM"
};
constexpr std::array<ModelClass, 3> kClasses = {
    {{"llama", "Llama"}, {"mistral", "Mistral"}, {"qwen2", "Qwen2"}}};

std::string_view class_name(const DecoderConfig& config, const std::string& origin) {
  for (const ModelClass& row : kClasses) {
    if (row.model_type == config.family) return row.name;
  }
  throw FormatError(
      fmt::format("{}: no config.json is made for the family {}: export from a "
                  "Hugging Face folder of the model",
                  origin, config.family));
}

std::string_view activation_name(Activation activation) {
  switch (activation) {
    case Activation::silu:
      return "silu";
    case Activation::gelu:
      return "gelu";
    case Activation::gelu_tanh:
      return "gelu_pytorch_tanh";
    case Activation::relu:
      return "relu";
  }
  return "";
}

// As transformers before 5 wrote it, which newer ones read.
void add_rope(const RopeConfig& rope, ordered_json& config) {
  config["rope_theta"] = rope.theta;
  ordered_json scaling;
  if (rope.scaling == RopeScaling::linear) {
    scaling = {{"rope_type", "linear"}, {"factor", rope.factor}};
  } else if (rope.scaling == RopeScaling::llama3) {
    scaling = {{"rope_type", "llama3"},
               {"factor", rope.factor},
               {"low_freq_factor", rope.low_freq_factor},
               {"high_freq_factor", rope.high_freq_factor},
               {"original_max_position_embeddings", rope.original_max_positions}};
  }
  config["rope_scaling"] = scaling;
}

ordered_json optional_id(std::optional<int64_t> id) {
  return id ? ordered_json(*id) : ordered_json();
}

ordered_json ids(const std::vector<int64_t>& list) {
  if (list.empty()) return {};
  return list.size() == 1 ? ordered_json(list[0]) : ordered_json(list);
}

ordered_json made_config(const DecoderConfig& c) {
  ordered_json config = {{"model_type", c.family},
                         {"vocab_size", c.vocab_size},
                         {"hidden_size", c.hidden_size},
                         {"intermediate_size", c.intermediate_size},
                         {"num_hidden_layers", c.num_layers},
                         {"num_attention_heads", c.num_heads},
                         {"num_key_value_heads", c.num_kv_heads},
                         {"head_dim", c.head_dim},
                         {"max_position_embeddings", c.max_positions},
                         {"hidden_act", activation_name(c.activation)},
                         {"rms_norm_eps", c.norm_epsilon},
                         {"initializer_range", c.initializer_range},
                         {"bos_token_id", optional_id(c.bos_token_id)},
                         {"eos_token_id", ids(c.eos_token_ids)},
                         {"pad_token_id", optional_id(c.pad_token_id)}};
  if (c.family == "llama") {
    config["attention_bias"] = c.qkv_bias;
    config["mlp_bias"] = c.mlp_bias;
  }
  if (c.family == "mistral") config["sliding_window"] = nullptr;
  if (c.family == "qwen2") config["use_sliding_window"] = false;
  add_rope(c.rope, config);
  return config;
}

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
  if (config.is_null()) config = made_config(facts);
  const bool classifies = facts.num_labels > 0;
  const auto said = config.find("architectures");
  const bool classified = said != config.end() && said->is_array() && !said->empty() &&
                          (*said)[0].is_string() &&
                          (*said)[0].get<std::string>().ends_with("ForSequenceClassification");
  if (classifies != classified || said == config.end()) {
    config["architectures"] = {
        fmt::format("{}{}", class_name(facts, origin),
                    classifies ? "ForSequenceClassification" : "ForCausalLM")};
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
  if (!config.eos_token_ids.empty()) generation["eos_token_id"] = ids(config.eos_token_ids);
  if (config.pad_token_id) generation["pad_token_id"] = *config.pad_token_id;
  return generation;
}

}  // namespace leash

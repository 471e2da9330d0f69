// config.json to DecoderConfig. What transformers ignores for a family is ignored here too; what
// changes its computation is either mapped or refused.
#include "models/families/families.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "models/errors.h"
#include "models/families/token_id.h"
#include "models/json_fields.h"
#include "models/printable.h"

namespace leash {

namespace {

constexpr std::array<std::string_view, 6> kLeftOutByLlama = {
    "rotary_emb.inv_freq",   "rotary_emb.cos_cached", "rotary_emb.sin_cached",
    "self_attn.masked_bias", "v_head.summary.weight", "v_head.summary.bias"};

constexpr std::array<Family, 3> kFamilies = {{
    {.model_type = "llama",
     .gguf_architecture = "llama",
     .gguf_permutes_qk = true,
     .qkv_bias = false,
     .biases_are_options = true,
     .window = WindowRule::never,
     .kv_heads = 0,
     .max_positions = 2048,
     .bos_token_id = 1,
     .eos_token_id = 2,
     .left_out = kLeftOutByLlama},
    {.model_type = "mistral",
     .gguf_architecture = "",  // written as llama
     .gguf_permutes_qk = true,
     .qkv_bias = false,
     .biases_are_options = false,
     .window = WindowRule::always,
     .kv_heads = 8,
     .max_positions = 131072,
     .bos_token_id = 1,
     .eos_token_id = 2,
     .left_out = kLeftOutByLlama},
    {.model_type = "qwen2",
     .gguf_architecture = "qwen2",
     .gguf_permutes_qk = false,
     .qkv_bias = true,
     .biases_are_options = false,
     .window = WindowRule::when_switched_on,
     .kv_heads = 32,
     .max_positions = 32768,
     .bos_token_id = std::nullopt,
     .eos_token_id = std::nullopt,
     .left_out = kLeftOutByLlama},
}};

constexpr double kDefaultTheta = 10000.0;
constexpr double kDefaultNormEpsilon = 1e-6;
constexpr int64_t kDefaultLabels = 2;
constexpr int64_t kDefaultWindow = 4096;

Activation activation(const JsonFields& config) {
  const std::string name = config.string("hidden_act").value_or("silu");
  if (name == "silu" || name == "swish") return Activation::silu;
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return Activation::gelu_tanh;
  if (name == "relu") return Activation::relu;
  config.fail(fmt::format("hidden_act '{}' is not supported (silu, gelu, gelu_pytorch_tanh, relu)",
                          printable(name)));
}

double required_number(const JsonFields& fields, const char* key) {
  const auto value = fields.number(key);
  if (!value) fields.fail(fmt::format("'{}' is missing", key));
  return *value;
}

void read_scaling(const JsonFields& scaling, const JsonFields& config, RopeConfig& rope) {
  // Older files say `type`.
  auto type = scaling.string("rope_type");
  if (!type) type = scaling.string("type");
  if (scaling.number("partial_rotary_factor").value_or(1.0) != 1.0) {
    scaling.fail("partial_rotary_factor is not supported for this family");
  }
  if (!type || *type == "default") return;
  if (*type == "linear") {
    rope.scaling = RopeScaling::linear;
    rope.factor = required_number(scaling, "factor");
  } else if (*type == "llama3") {
    rope.scaling = RopeScaling::llama3;
    rope.factor = required_number(scaling, "factor");
    rope.low_freq_factor = required_number(scaling, "low_freq_factor");
    rope.high_freq_factor = required_number(scaling, "high_freq_factor");
    auto original = scaling.integer("original_max_position_embeddings");
    if (!original) original = config.integer("original_max_position_embeddings");
    if (!original) scaling.fail("'original_max_position_embeddings' is missing");
    rope.original_max_positions = *original;
  } else {
    scaling.fail(
        fmt::format("type '{}' is not supported (default, linear, llama3)", printable(*type)));
  }
}

// transformers 5 writes `rope_parameters` with everything in it; before, `rope_theta` stood beside
// `rope_scaling`. Where both exist `rope_scaling` wins, and a theta inside wins over one outside.
RopeConfig read_rope(const JsonFields& config, int64_t head_dim) {
  RopeConfig rope;
  rope.rotary_dim = head_dim;
  rope.theta = config.number("rope_theta").value_or(kDefaultTheta);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const auto scaling = config.object(key);
    if (!scaling || config.find(key)->empty()) continue;
    rope.theta = scaling->number("rope_theta").value_or(rope.theta);
    read_scaling(*scaling, config, rope);
    break;
  }
  return rope;
}

void refuse_what_is_not_supported(const JsonFields& config) {
  if (config.has("quantization_config")) {
    config.fail("the weights are quantised (quantization_config), which is not supported here");
  }
  for (const char* key : {"is_encoder_decoder", "add_cross_attention", "rope_interleaved"}) {
    if (config.boolean(key).value_or(false)) config.fail(fmt::format("{} is not supported", key));
  }
  if (config.number("partial_rotary_factor").value_or(1.0) != 1.0) {
    config.fail("partial_rotary_factor is not supported for this family");
  }
}

// A window that is no narrower than the context changes nothing.
void check_window(const JsonFields& json, const Family& family, const DecoderConfig& config) {
  if (family.window == WindowRule::never) return;
  if (family.window == WindowRule::when_switched_on) {
    if (!json.boolean("use_sliding_window").value_or(false)) return;
  }
  // Absent is not null: the class then assumes its own width.
  const bool is_null = json.is_null("sliding_window");
  if (is_null) return;
  const int64_t window = json.integer("sliding_window").value_or(kDefaultWindow);
  if (window >= config.max_positions) return;
  json.fail(fmt::format(
      "sliding-window attention is not supported (sliding_window is {}, the context {}); where "
      "shorter texts are enough, set max_position_embeddings to the window",
      window, config.max_positions));
}

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
  config.bos_token_id = json.integer("bos_token_id");
  if (!config.bos_token_id) config.bos_token_id = assumed("bos_token_id", family.bos_token_id);
  config.bos_token_id = unless_none(config.bos_token_id);
  if (const auto ids = json.integers("eos_token_id")) {
    config.eos_token_ids = without_none(*ids);
  } else if (const auto id = assumed("eos_token_id", family.eos_token_id)) {
    config.eos_token_ids = {*id};
  }
  config.pad_token_id = unless_none(json.integer("pad_token_id"));
}

void read_sizes(const JsonFields& json, const Family& family, DecoderConfig& config) {
  config.vocab_size = json.required_integer("vocab_size");
  config.hidden_size = json.required_integer("hidden_size");
  config.intermediate_size = json.required_integer("intermediate_size");
  config.num_layers = json.required_integer("num_hidden_layers");
  config.num_heads = json.required_integer("num_attention_heads");
  if (config.num_heads <= 0) json.fail("num_attention_heads must be positive");
  const bool kv_unsaid = family.kv_heads == 0 || json.is_null("num_key_value_heads");
  config.num_kv_heads =
      json.integer("num_key_value_heads").value_or(kv_unsaid ? config.num_heads : family.kv_heads);
  config.head_dim = json.integer("head_dim").value_or(config.hidden_size / config.num_heads);
  config.max_positions = json.integer("max_position_embeddings").value_or(family.max_positions);
}

template <std::string_view Family::*name>
const Family& find_family(std::string_view wanted, const std::string& origin, const char* what) {
  std::string known;
  for (const auto& family : kFamilies) {
    if ((family.*name).empty()) continue;
    if (family.*name == wanted) return family;
    known += (known.empty() ? "" : ", ") + std::string(family.*name);
  }
  throw FormatError(fmt::format("{}: {} '{}' is not supported, known are: {}", origin, what,
                                printable(wanted), known));
}

}  // namespace

std::span<const Family> families() { return kFamilies; }

const Family& family_of_model_type(std::string_view model_type, const std::string& origin) {
  return find_family<&Family::model_type>(model_type, origin, "model_type");
}

const Family& family_of_gguf(std::string_view architecture, const std::string& origin) {
  return find_family<&Family::gguf_architecture>(architecture, origin, "general.architecture");
}

std::span<const std::string_view> left_out_by(std::string_view model_type) {
  const auto found = std::ranges::find(kFamilies, model_type, &Family::model_type);
  return found == kFamilies.end() ? std::span<const std::string_view>() : found->left_out;
}

DecoderConfig config_from_json(const nlohmann::json& config, const std::string& origin) {
  const JsonFields json(config, origin);
  const auto model_type = json.string("model_type");
  if (!model_type) json.fail("'model_type' is missing");
  const Family& family = family_of_model_type(*model_type, origin);
  refuse_what_is_not_supported(json);

  DecoderConfig result;
  result.family = *model_type;
  read_sizes(json, family, result);
  result.norm_epsilon = json.number("rms_norm_eps").value_or(kDefaultNormEpsilon);
  result.activation = activation(json);
  result.rope = read_rope(json, result.head_dim);
  result.qkv_bias = family.qkv_bias;
  if (family.biases_are_options) {
    result.qkv_bias = json.boolean("attention_bias").value_or(false);
    result.attention_output_bias = result.qkv_bias;
    result.mlp_bias = json.boolean("mlp_bias").value_or(false);
  }
  result.initializer_range = json.number("initializer_range").value_or(result.initializer_range);
  result.tie_word_embeddings = json.boolean("tie_word_embeddings").value_or(false);
  read_token_ids(json, family, result);
  result.num_labels = num_labels(json);
  check_window(json, family, result);
  check(result, origin);
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

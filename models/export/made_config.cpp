#include "models/export/made_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "models/errors.h"

namespace leash {
namespace {

using nlohmann::ordered_json;

struct ModelClass {
  std::string_view model_type;
  std::string_view name;  // before "ForSequenceClassification"
  std::string_view causal = "ForCausalLM";
  void (*describe)(const DecoderConfig& config, ordered_json& json) = nullptr;
};

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

ordered_json scaling_of(const RopeConfig& rope) {
  switch (rope.scaling) {
    case RopeScaling::linear:
      return {{"rope_type", "linear"}, {"factor", rope.factor}};
    case RopeScaling::llama3:
      return {{"rope_type", "llama3"},
              {"factor", rope.factor},
              {"low_freq_factor", rope.low_freq_factor},
              {"high_freq_factor", rope.high_freq_factor},
              {"original_max_position_embeddings", rope.original_max_positions}};
    case RopeScaling::yarn:
      return {{"rope_type", "yarn"},
              {"factor", rope.factor},
              {"beta_fast", rope.beta_fast},
              {"beta_slow", rope.beta_slow},
              {"attention_factor", rope.attention_factor},
              {"original_max_position_embeddings", rope.original_max_positions}};
    default:  // the others depend on the length, or on tables that a file does not have
      return nullptr;
  }
}

void add_rope(const DecoderConfig& c, ordered_json& json) {
  json["rope_theta"] = c.rope.theta;
  json["rope_scaling"] = scaling_of(c.rope);
}

double rotated_part(const DecoderConfig& c) {
  return static_cast<double>(c.rope.rotary_dim) / static_cast<double>(c.head_dim);
}

// The window of the layers that have one, and which those are.
void add_windows(const DecoderConfig& c, ordered_json& json) {
  int64_t window = 0;
  ordered_json types = ordered_json::array();
  for (const LayerFacts& layer : c.layers) {
    window = std::max(window, layer.window);
    types.push_back(layer.window > 0 || layer.rope == LayerRope::local ? "sliding_attention"
                                                                       : "full_attention");
  }
  if (!c.layers.empty()) json["layer_types"] = types;
  json["sliding_window"] = window > 0 ? ordered_json(window) : ordered_json();
}

void add_outline(const DecoderConfig& c, ordered_json& json) {
  json.update({{"hidden_size", c.hidden_size},
               {"intermediate_size", c.intermediate_size},
               {"num_hidden_layers", c.num_layers},
               {"num_attention_heads", c.num_heads},
               {"max_position_embeddings", c.max_positions},
               {"hidden_act", activation_name(c.activation)}});
}

void add_llama(const DecoderConfig& c, ordered_json& json) {
  add_outline(c, json);
  json["num_key_value_heads"] = c.num_kv_heads;
  json["head_dim"] = c.head_dim;
  json["rms_norm_eps"] = c.norm_epsilon;
  add_rope(c, json);
}

void add_llama_with_biases(const DecoderConfig& c, ordered_json& json) {
  add_llama(c, json);
  json["attention_bias"] = c.qkv_bias;
  json["mlp_bias"] = c.mlp_bias;
}

void add_attention_bias(const DecoderConfig& c, ordered_json& json) {
  add_llama(c, json);
  json["attention_bias"] = c.qkv_bias;
}

void add_mistral(const DecoderConfig& c, ordered_json& json) {
  add_llama(c, json);
  add_windows(c, json);
}

void add_qwen(const DecoderConfig& c, ordered_json& json) {
  add_attention_bias(c, json);
  add_windows(c, json);
  json["use_sliding_window"] = !json["sliding_window"].is_null();
}

void add_smollm3(const DecoderConfig& c, ordered_json& json) {
  add_llama_with_biases(c, json);
  ordered_json rotated = ordered_json::array();
  for (const LayerFacts& layer : c.layers) rotated.push_back(layer.rope == LayerRope::none ? 0 : 1);
  if (!c.layers.empty()) json["no_rope_layers"] = rotated;
  json["use_sliding_window"] = false;
}

void add_granite(const DecoderConfig& c, ordered_json& json) {
  add_llama_with_biases(c, json);
  json["embedding_multiplier"] = c.embedding_scale;
  json["residual_multiplier"] = c.residual_scale;
  json["attention_multiplier"] = c.attention_scale;
  json["logits_scaling"] = 1.0 / c.logit_scale;
}

void add_gemma2(const DecoderConfig& c, ordered_json& json) {
  add_attention_bias(c, json);
  add_windows(c, json);
  const auto cap = [](double value) { return value > 0 ? ordered_json(value) : ordered_json(); };
  json["hidden_activation"] = activation_name(c.activation);
  json["query_pre_attn_scalar"] = 1.0 / (c.attention_scale * c.attention_scale);
  json["final_logit_softcapping"] = cap(c.logit_softcap);
  if (c.family == "gemma2") json["attn_logit_softcapping"] = cap(c.attention_softcap);
}

void add_gemma3(const DecoderConfig& c, ordered_json& json) {
  add_gemma2(c, json);
  if (c.local_rope) json["rope_local_base_freq"] = c.local_rope->theta;
}

void add_phi(const DecoderConfig& c, ordered_json& json) {
  add_outline(c, json);
  json["num_key_value_heads"] = c.num_kv_heads;
  json["layer_norm_eps"] = c.norm_epsilon;
  json["partial_rotary_factor"] = rotated_part(c);
  add_rope(c, json);
}

void add_phi3(const DecoderConfig& c, ordered_json& json) {
  add_llama(c, json);
  json["partial_rotary_factor"] = rotated_part(c);
  json["original_max_position_embeddings"] = c.max_positions;
  add_windows(c, json);
}

void add_gpt2(const DecoderConfig& c, ordered_json& json) {
  json.update({{"n_embd", c.hidden_size},
               {"n_layer", c.num_layers},
               {"n_head", c.num_heads},
               {"n_positions", c.max_positions},
               {"n_inner", c.intermediate_size},
               {"activation_function", activation_name(c.activation)},
               {"layer_norm_epsilon", c.norm_epsilon}});
}

void add_gpt_neox(const DecoderConfig& c, ordered_json& json) {
  add_outline(c, json);
  json["layer_norm_eps"] = c.norm_epsilon;
  json["use_parallel_residual"] = c.parallel_residual;
  json["attention_bias"] = c.qkv_bias;
  json["rotary_pct"] = rotated_part(c);
  json["rotary_emb_base"] = c.rope.theta;
  json["rope_scaling"] = scaling_of(c.rope);
}

void add_falcon(const DecoderConfig& c, ordered_json& json) {
  const bool one_key_head = c.num_kv_heads == 1;
  const bool is_new =
      c.parallel_residual && (!c.shared_norm || (!one_key_head && c.num_kv_heads < c.num_heads));
  json.update({{"hidden_size", c.hidden_size},
               {"num_hidden_layers", c.num_layers},
               {"num_attention_heads", c.num_heads},
               {"num_kv_heads", c.num_kv_heads},
               {"ffn_hidden_size", c.intermediate_size},
               {"max_position_embeddings", c.max_positions},
               {"activation", activation_name(c.activation)},
               {"layer_norm_epsilon", c.norm_epsilon},
               {"new_decoder_architecture", is_new},
               {"multi_query", !is_new && one_key_head},
               {"parallel_attn", c.parallel_residual},
               {"bias", c.mlp_bias},
               {"alibi", c.positions == PositionKind::alibi}});
  if (is_new) json["num_ln_in_parallel_attn"] = c.shared_norm ? 1 : 2;
  if (c.positions == PositionKind::rotary) add_rope(c, json);
}

void add_bloom(const DecoderConfig& c, ordered_json& json) {
  json.update({{"hidden_size", c.hidden_size},
               {"n_layer", c.num_layers},
               {"n_head", c.num_heads},
               {"seq_length", c.max_positions},
               {"layer_norm_epsilon", c.norm_epsilon}});
}

constexpr ModelClass kModelClasses[] = {
    {"llama", "Llama", "ForCausalLM", add_llama_with_biases},
    {"mistral", "Mistral", "ForCausalLM", add_mistral},
    {"qwen2", "Qwen2", "ForCausalLM", add_qwen},
    {"qwen3", "Qwen3", "ForCausalLM", add_qwen},
    {"smollm3", "SmolLM3", "ForCausalLM", add_smollm3},
    {"olmo2", "Olmo2", "ForCausalLM", add_attention_bias},
    {"granite", "Granite", "ForCausalLM", add_granite},
    {"gemma", "Gemma", "ForCausalLM", add_attention_bias},
    {"gemma2", "Gemma2", "ForCausalLM", add_gemma2},
    {"gemma3_text", "Gemma3", "ForCausalLM", add_gemma3},
    {"phi", "Phi", "ForCausalLM", add_phi},
    {"phi3", "Phi3", "ForCausalLM", add_phi3},
    {"gpt2", "GPT2", "LMHeadModel", add_gpt2},
    {"gpt_neox", "GPTNeoX", "ForCausalLM", add_gpt_neox},
    {"falcon", "Falcon", "ForCausalLM", add_falcon},
    {"bloom", "Bloom", "ForCausalLM", add_bloom},
    {"opt", "OPT", "ForCausalLM", nullptr},  // in no GGUF
};

const ModelClass& class_of(const DecoderConfig& config, const std::string& origin) {
  const auto found = std::ranges::find(kModelClasses, config.family, &ModelClass::model_type);
  if (found != std::end(kModelClasses)) return *found;
  throw FormatError(fmt::format("{}: the class of the family {} in transformers is not known",
                                origin, config.family));
}

ordered_json optional_id(std::optional<int64_t> id) {
  return id ? ordered_json(*id) : ordered_json();
}

}  // namespace

ordered_json token_ids(const std::vector<int64_t>& ids) {
  if (ids.empty()) return nullptr;
  return ids.size() == 1 ? ordered_json(ids[0]) : ordered_json(ids);
}

std::string class_name(const DecoderConfig& config, const std::string& origin) {
  const ModelClass& row = class_of(config, origin);
  return fmt::format("{}{}", row.name,
                     config.num_labels > 0 ? "ForSequenceClassification" : row.causal);
}

ordered_json made_config(const DecoderConfig& config, const std::string& origin) {
  const ModelClass& row = class_of(config, origin);
  if (row.describe == nullptr) {
    throw FormatError(fmt::format(
        "{}: no config.json is made for the family {}: export from a Hugging Face folder of the "
        "model",
        origin, config.family));
  }
  ordered_json json = {{"model_type", config.family},
                       {"vocab_size", config.vocab_size},
                       {"initializer_range", config.initializer_range},
                       {"bos_token_id", optional_id(config.bos_token_id)},
                       {"eos_token_id", token_ids(config.eos_token_ids)},
                       {"pad_token_id", optional_id(config.pad_token_id)}};
  row.describe(config, json);
  return json;
}

}  // namespace leash

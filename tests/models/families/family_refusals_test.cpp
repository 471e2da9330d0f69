// What config.json of the further families may say that is not supported: each an error that names
// it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "models/families/families.h"
#include "tests/models/io/damage.h"
#include "tests/support/heard_notices.h"

namespace leash::testing {
namespace {

using nlohmann::json;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

json small_config(const std::string& model_type) {
  json config = json::parse(R"({"vocab_size": 64, "hidden_size": 24, "intermediate_size": 16,
    "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64})");
  if (model_type == "gpt2") {
    config = json::parse(
        R"({"vocab_size": 64, "n_embd": 24, "n_layer": 2, "n_head": 2, "n_positions": 64})");
  } else if (model_type == "opt") {
    config["ffn_dim"] = 16;
  } else if (model_type != "falcon" && model_type != "bloom") {
    config["num_key_value_heads"] = 2;
    if (model_type == "gpt_neox") config["rotary_pct"] = 0.5;
  }
  config["model_type"] = model_type;
  return config;
}

// Members of `changes` are set, null included.
DecoderConfig changed(const std::string& model_type, const char* changes) {
  json config = small_config(model_type);
  const json changed = json::parse(changes);  // named: it has to outlive the loop's head
  for (const auto& [name, value] : changed.items()) config[name] = value;
  return config_from_json(config, "config.json");
}

std::string refusal(const std::string& model_type, const char* changes) {
  return format_error([&] { changed(model_type, changes); });
}

struct Refusal {
  const char* model_type;
  const char* changes;
  const char* named;  // what the message has to say
};

class FamilyRefusals : public ::testing::TestWithParam<Refusal> {};

TEST_P(FamilyRefusals, NameTheField) {
  const Refusal& it = GetParam();
  EXPECT_EQ(refusal(it.model_type, "{}"), "");
  const std::string error = refusal(it.model_type, it.changes);
  EXPECT_THAT(error, HasSubstr("config.json")) << it.changes;
  EXPECT_THAT(error, HasSubstr(it.named)) << it.changes;
}

constexpr Refusal kOfEveryFamily[] = {
    {"llama", R"({"is_causal": false})", "is_causal"},
    {"llama", R"({"num_local_experts": 8})", "num_local_experts"},
    {"qwen3", R"({"num_experts": 8})", "mixtures of experts"},
    {"gpt2", R"({"pruned_heads": {"0": [1]}})", "pruned_heads"},
    {"llama", R"({"per_layer_config": [{}]})", "per_layer_config"},
    {"opt", R"({"quantization_config": {"bits": 4}})", "quantization_config"},
    {"gpt2", R"({"add_cross_attention": true})", "add_cross_attention"},
};
constexpr Refusal kOfLlamaLike[] = {
    {"llama", R"({"layer_types": ["full_attention", "sliding_attention"]})", "layer_types"},
    {"llama", R"({"layer_types": ["full_attention"]})", "layer_types"},
    {"llama", R"({"layer_types": "full_attention"})", "layer_types"},
    {"mistral", R"({"layer_types": ["full_attention", "full_attention"]})", "layer_types"},
    {"mistral", R"({"sliding_window": 0})", "sliding_window"},
    {"mistral", R"({"sliding_window": -3})", "sliding_window"},
    {"qwen2", R"({"layer_types": ["full_attention", "chunked_attention"]})", "chunked_attention"},
    {"qwen2", R"({"layer_types": ["full_attention", "linear_attention"]})", "linear_attention"},
    {"qwen2", R"({"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 5})",
     "sliding_window"},
    {"qwen2", R"({"use_sliding_window": true, "sliding_window": "5"})", "sliding_window"},
    {"qwen3", R"({"head_dim": null})", "head_dim"},
    {"qwen3", R"({"use_sliding_window": 1})", "use_sliding_window"},
    {"smollm3", R"({"no_rope_layers": [1]})", "no_rope_layers"},
    {"smollm3", R"({"no_rope_layer_interval": 0})", "no_rope_layer_interval"},
    {"smollm3", R"({"no_rope_layers": ["x", 1]})", "no_rope_layers"},
    {"olmo2", R"({"clip_qkv": 8.0})", "clip_qkv"},
    {"granite", R"({"logits_scaling": 0})", "logits_scaling"},
    {"granite", R"({"attention_multiplier": 0.0})", "attention_multiplier"},
    {"granite", R"({"residual_multiplier": -1})", "residual_multiplier"},
    {"granite", R"({"embedding_multiplier": "12"})", "embedding_multiplier"},
};
constexpr Refusal kOfGemma[] = {
    {"gemma", R"({"use_bidirectional_attention": true})", "use_bidirectional_attention"},
    {"gemma2", R"({"use_bidirectional_attention": true})", "use_bidirectional_attention"},
    {"gemma3_text", R"({"use_bidirectional_attention": true})", "use_bidirectional_attention"},
    {"gemma", R"({"hidden_activation": "silu"})", "hidden_activation"},
    {"gemma2", R"({"hidden_act": "silu"})", "hidden_act"},
    {"gemma2", R"({"hidden_activation": "quick_gelu"})", "quick_gelu"},
    {"gemma2", R"({"attn_logit_softcapping": 0.0})", "attn_logit_softcapping"},
    {"gemma2", R"({"final_logit_softcapping": -1})", "final_logit_softcapping"},
    {"gemma2", R"({"query_pre_attn_scalar": 0})", "query_pre_attn_scalar"},
    {"gemma2", R"({"sliding_window": null})", "sliding_window"},
    {"gemma2", R"({"rope_parameters": {"full_attention": {"rope_theta": 9}}})", "type of layer"},
    {"gemma3_text", R"({"attn_logit_softcapping": 50.0})", "attn_logit_softcapping"},
    {"gemma3_text", R"({"sliding_window_pattern": 0})", "sliding_window_pattern"},
    {"gemma3_text", R"({"_sliding_window_pattern": 2})", "_sliding_window_pattern"},
    {"gemma3_text", R"({"rope_parameters": {"rope_theta": 9}})", "rope_parameters"},
    {"gemma3_text", R"({"rope_scaling": {"full_attention": {}}})", "rope_scaling"},
    {"gemma3_text", R"({"rope_scaling": {"type": "linear", "factor": 8}, "rope_parameters":
      {"full_attention": {"rope_theta": 9}}})",
     "rope_scaling"},
};
constexpr Refusal kOfPhi[] = {
    {"phi", R"({"qk_layernorm": true})", "qk_layernorm"},
    {"phi", R"({"partial_rotary_factor": 0})", "partial_rotary_factor"},
    {"phi", R"({"partial_rotary_factor": 1.5})", "partial_rotary_factor"},
    {"phi", R"({"partial_rotary_factor": 0.25})", "rotated"},  // three of twelve entries
    {"phi3", R"({"rope_scaling": {"type": "linear", "factor": 2}})", "linear"},
    {"phi3", R"({"rope_scaling": {"type": "longrope", "long_factor": [1]}})", "short_factor"},
    {"phi3", R"({"rope_scaling": {"type": "longrope", "short_factor": [1, 2]}})", "short_factor"},
    {"phi3", R"({"rope_scaling": {"type": "longrope", "short_factor": [1, 2, 3, 4, 5, 0]}})",
     "short_factor"},
    {"phi3", R"({"rope_scaling": {"type": "longrope", "short_factor": [1, 2, 3, 4, 5, 6],
      "original_max_position_embeddings": 64}, "original_max_position_embeddings": 32})",
     "original_max_position_embeddings"},
    {"phi3", R"({"rope_scaling": {"type": "longrope", "short_mscale": 1.1}})", "short_mscale"},
};
constexpr Refusal kOfFused[] = {
    {"gpt2", R"({"scale_attn_weights": false})", "scale_attn_weights"},
    {"gpt2", R"({"scale_attn_by_inverse_layer_idx": true})", "scale_attn_by_inverse_layer_idx"},
    {"gpt2", R"({"reorder_and_upcast_attn": true})", "reorder_and_upcast_attn"},
    {"gpt2", R"({"activation_function": "gelu_10"})", "gelu_10"},
    {"gpt2", R"({"hidden_size": 32})", "hidden_size"},
    {"gpt2", R"({"n_head": 5})", "5 heads"},
    {"gpt2", R"({"head_dim": 8})", "head_dim"},
    {"gpt_neox", R"({"rotary_pct": 0.25})", "rotated"},
    {"gpt_neox", R"({"rope_theta": 500})", "rope_theta"},
    {"gpt_neox", R"({"partial_rotary_factor": 1.0})", "partial_rotary_factor"},
    {"gpt_neox", R"({"num_key_value_heads": 1})", "num_key_value_heads"},
    {"opt", R"({"do_layer_norm_before": false})", "do_layer_norm_before"},
    {"opt", R"({"_remove_final_layer_norm": true})", "_remove_final_layer_norm"},
    {"opt", R"({"layer_norm_elementwise_affine": false})", "layer_norm_elementwise_affine"},
    {"opt", R"({"word_embed_proj_dim": 12})", "word_embed_proj_dim"},
    {"falcon", R"({"new_decoder_architecture": true, "parallel_attn": false})", "parallel_attn"},
    {"falcon", R"({"num_ln_in_parallel_attn": 2})", "num_ln_in_parallel_attn"},
    {"falcon", R"({"new_decoder_architecture": true, "num_ln_in_parallel_attn": 3})",
     "num_ln_in_parallel_attn"},
    {"falcon", R"({"multi_query": false, "num_kv_heads": 1})", "num_kv_heads"},
    {"falcon", R"({"n_embed": 48})", "n_embed"},
    {"bloom", R"({"apply_residual_connection_post_layernorm": true})",
     "apply_residual_connection_post_layernorm"},
};
constexpr Refusal kOfRope[] = {
    {"llama", R"({"rope_scaling": {"type": "mrope", "mrope_section": [2, 2, 2]}})",
     "mrope_section"},
    {"llama", R"({"rope_scaling": {"type": "proportional"}})", "proportional"},
    {"llama", R"({"rope_scaling": {"type": "dynamic", "factor": 2, "alpha": 1000}})", "alpha"},
    {"llama", R"({"rope_scaling": {"type": "dynamic"}})", "factor"},
    {"llama", R"({"rope_scaling": {"type": "yarn"}})", "factor"},
    {"llama", R"({"rope_scaling": {"type": "yarn", "factor": 2, "attention_factor": 0}})",
     "attention_factor"},
    {"llama", R"({"rope_scaling": {"type": "yarn", "factor": 2, "beta_fast": 0.5}})", "beta_fast"},
    {"llama", R"({"rope_scaling": {"type": "yarn", "factor": 2, "truncate": 1}})", "truncate"},
    {"llama", R"({"rope_scaling": {"type": "yarn", "factor": 2,
      "original_max_position_embeddings": 8}, "original_max_position_embeddings": 16})",
     "original_max_position_embeddings"},
    {"llama", R"({"rope_scaling": {"type": "longrope", "short_factor": "1"}})", "short_factor"},
    {"qwen3", R"({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}})",
     "partial_rotary_factor"},
};

INSTANTIATE_TEST_SUITE_P(EveryFamily, FamilyRefusals, ::testing::ValuesIn(kOfEveryFamily));
INSTANTIATE_TEST_SUITE_P(LlamaLike, FamilyRefusals, ::testing::ValuesIn(kOfLlamaLike));
INSTANTIATE_TEST_SUITE_P(Gemma, FamilyRefusals, ::testing::ValuesIn(kOfGemma));
INSTANTIATE_TEST_SUITE_P(Phi, FamilyRefusals, ::testing::ValuesIn(kOfPhi));
INSTANTIATE_TEST_SUITE_P(Fused, FamilyRefusals, ::testing::ValuesIn(kOfFused));
INSTANTIATE_TEST_SUITE_P(Rope, FamilyRefusals, ::testing::ValuesIn(kOfRope));

TEST(Families, MixturesOfExpertsAreNamedAsSuch) {
  for (const char* name : {"mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "granitemoe", "phimoe",
                           "deepseek_v2", "deepseek_v3", "gpt_oss", "llama4", "dbrx", "jamba"}) {
    const std::string error = format_error([&] {
      config_from_json(json{{"model_type", name}}, "config.json");
    });
    EXPECT_THAT(error, HasSubstr(name));
    EXPECT_THAT(error, HasSubstr("mixture of experts"));
  }
  EXPECT_THAT(format_error([&] {
                config_from_json(json{{"model_type", "rwkv"}}, "config.json");
              }),
              ::testing::Not(HasSubstr("mixture")));
}

json seeing_config() {
  json text = small_config("gemma3_text");
  return {{"model_type", "gemma3"}, {"text_config", text}, {"vision_config", json::object()}};
}

TEST(Families, OfAModelThatSeesTheTextIsRead) {
  HeardNotices heard;
  json config = seeing_config();
  config["eos_token_id"] = {1, 7};
  config["text_config"]["final_logit_softcapping"] = 5.0;
  const DecoderConfig facts = config_from_json(config, "config.json");
  EXPECT_EQ(facts.family, "gemma3");
  EXPECT_EQ(facts.hidden_size, 24);
  EXPECT_EQ(facts.eos_token_ids, (std::vector<int64_t>{1, 7}));
  EXPECT_EQ(facts.logit_softcap, 0.0);  // Gemma3ForConditionalGeneration has no line that reads it
  EXPECT_THAT(heard.texts, Contains(HasSubstr("the text's part is used")));
  for (const char* beginning : {"vision_tower.", "model.multi_modal_projector."}) {
    EXPECT_THAT(left_out_under_by("gemma3"), Contains(beginning));
  }
  EXPECT_THAT(left_out_under_by("gemma3_text"), IsEmpty());
  EXPECT_THAT(left_out_under_by("rwkv"), IsEmpty());
}

// The 4B's own file says no more of its text than this.
TEST(Families, AModelThatSeesMaySayLittleOfItsText) {
  const DecoderConfig facts = config_from_json(json::parse(R"({"model_type": "gemma3",
    "text_config": {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34,
    "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024}})"),
                                               "config.json");
  EXPECT_EQ(facts.vocab_size, 262208);
  EXPECT_EQ(facts.num_heads, 8);
  EXPECT_EQ(facts.num_kv_heads, 4);
  EXPECT_EQ(facts.head_dim, 256);
  EXPECT_EQ(facts.rope.factor, 8.0);
  EXPECT_EQ(facts.local_rope->theta, 10000.0);
  EXPECT_EQ(facts.layers[5].rope, LayerRope::global);
  EXPECT_EQ(facts.layers[4].window, 1024);
}

TEST(Families, WhatAModelThatSeesMustSay) {
  const auto error = [](const json& config) {
    return format_error([&] { config_from_json(config, "config.json"); });
  };
  json config = seeing_config();
  config["text_config"]["model_type"] = "llama";
  EXPECT_THAT(error(config), HasSubstr("text_config: model_type"));
  config = seeing_config();
  config["tie_word_embeddings"] = false;
  EXPECT_THAT(error(config), HasSubstr("tie_word_embeddings"));
  config.erase("text_config");
  EXPECT_THAT(error(config), HasSubstr("text_config"));
}

TEST(Families, WhereARotationStopsHoldingTheContextEnds) {
  HeardNotices heard;
  const DecoderConfig dynamic =
      changed("llama", R"({"rope_scaling": {"type": "dynamic", "factor": 2}})");
  EXPECT_EQ(dynamic.max_positions, 64);
  const DecoderConfig shorter = changed("llama", R"({"rope_scaling": {"type": "dynamic",
    "factor": 2, "original_max_position_embeddings": 16}})");
  EXPECT_EQ(shorter.max_positions, 16);
  const DecoderConfig longrope = changed("phi3", R"({"rope_scaling": {"type": "longrope",
    "short_factor": [1, 1, 2, 3, 4, 5]}, "original_max_position_embeddings": 32})");
  EXPECT_EQ(longrope.max_positions, 32);
  EXPECT_EQ(longrope.rope.factor, 2.0);
  EXPECT_THAT(heard.texts, Contains(HasSubstr("longer than 32: the context ends there")));
}

TEST(Families, FieldsThatNobodyReadsAreNamedOnce) {
  HeardNotices heard;
  changed("qwen2", R"({"attention_dropout": 0.1, "transformers_version": "4.50", "use_mrope": false,
    "mup_scale": 3, "sliding_window": null})");
  ASSERT_EQ(heard.texts.size(), 1U);
  EXPECT_THAT(heard.texts[0], HasSubstr("mup_scale"));
  EXPECT_THAT(heard.texts[0], ::testing::Not(HasSubstr("dropout")));
}

}  // namespace
}  // namespace leash::testing

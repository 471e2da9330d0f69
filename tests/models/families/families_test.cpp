// config.json in its spellings: against what transformers makes of each
// (tests/golden/make_safetensors.py), and what is refused.
#include "models/families/families.h"

#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "models/attention/rope.h"
#include "tests/models/io/damage.h"

namespace leash::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

std::optional<int64_t> id_of(const json& value) {
  return value.is_null() ? std::nullopt : std::optional(value.get<int64_t>());
}

// cos and sin at position 1 are those of the frequencies themselves.
void expect_frequencies(const RopeConfig& rope, const std::vector<double>& expected) {
  const RopeTable table = rope_table(rope, 2);
  ASSERT_EQ(table.sines.size(1), static_cast<int64_t>(expected.size()));
  for (size_t i = 0; i < expected.size(); ++i) {
    const auto column = static_cast<int64_t>(i);
    const double sine = table.sines[1][column].item<double>();
    EXPECT_NEAR(sine, std::sin(expected[i]), 1e-6 * std::abs(std::sin(expected[i]))) << i;
    EXPECT_NEAR(table.cosines[1][column].item<double>(), std::cos(expected[i]), 1e-7) << i;
  }
}

TEST(GoldenFamilies, VariantsOfConfigJson) {
  const json rows = json::parse(read_text(repository("tests/golden/config_variants.json")));
  ASSERT_GE(rows.size(), 16U);
  for (const json& row : rows) {
    SCOPED_TRACE(row["name"].get<std::string>());
    const DecoderConfig config = config_from_json(row["config"], "config.json");
    const json& expected = row["expected"];
    EXPECT_EQ(config.head_dim, expected["head_dim"]);
    EXPECT_EQ(config.num_kv_heads, expected["num_kv_heads"]);
    EXPECT_EQ(config.tie_word_embeddings, expected["tie"]);
    if (config.family == "llama") {
      EXPECT_EQ(config.qkv_bias, expected["attention_bias"]);
      EXPECT_EQ(config.attention_output_bias, expected["attention_bias"]);
      EXPECT_EQ(config.mlp_bias, expected["mlp_bias"]);
    } else {
      EXPECT_EQ(config.qkv_bias, config.family == "qwen2");
    }
    EXPECT_EQ(config.bos_token_id, id_of(expected["bos"]));
    EXPECT_EQ(config.eos_token_ids, expected["eos"].get<std::vector<int64_t>>());
    EXPECT_EQ(config.pad_token_id, id_of(expected["pad"]));
    expect_frequencies(config.rope, expected["inverse_frequencies"]);
  }
}

json base_config() {
  return json::parse(R"({"model_type": "llama", "vocab_size": 64, "hidden_size": 64,
    "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 128})");
}

DecoderConfig patched(const char* patch) {
  json config = base_config();
  config.merge_patch(json::parse(patch));
  return config_from_json(config, "config.json");
}

std::string config_error(const char* patch) {
  const std::string error = format_error([&] { patched(patch); });
  if (!error.empty()) {
    EXPECT_THAT(error, HasSubstr("config.json"));
  }
  return error;
}

TEST(Families, RopeParametersAndScalingTogether) {
  // Both spellings: rope_scaling wins.
  const RopeConfig both = patched(R"({"rope_scaling": {"type": "linear", "factor": 2},
      "rope_parameters": {"rope_type": "default", "rope_theta": 7}, "rope_theta": 9})")
                              .rope;
  EXPECT_EQ(both.scaling, RopeScaling::linear);
  EXPECT_EQ(both.theta, 9.0);
  const RopeConfig inside =
      patched(R"({"rope_parameters": {"rope_theta": 7}, "rope_theta": 9})").rope;
  EXPECT_EQ(inside.theta, 7.0);
  EXPECT_EQ(patched(R"({"rope_parameters": {}, "rope_theta": 9})").rope.theta, 9.0);
}

TEST(Families, RopeScalingsThatAreWrong) {
  for (const char* patch :
       {R"({"rope_scaling": {"type": "linear"}})",
        R"({"rope_scaling": {"type": "linear", "factor": 0}})",
        R"({"rope_scaling": {"type": "linear", "factor": -1}})",
        R"({"rope_scaling": {"type": "linear", "factor": "2"}})",
        R"({"rope_scaling": {"type": 3}})", R"({"rope_scaling": [1]})", R"({"rope_scaling": "x"})",
        R"({"rope_scaling": {"rope_type": "llama3", "factor": 8}})",
        R"({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4,
            "high_freq_factor": 4, "original_max_position_embeddings": 64}})",
        R"({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 0,
            "high_freq_factor": 4, "original_max_position_embeddings": 64}})",
        R"({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
            "high_freq_factor": 4, "original_max_position_embeddings": 0}})",
        R"({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
            "high_freq_factor": 4}})",
        R"({"rope_theta": 0})", R"({"rope_theta": -5})", R"({"rope_theta": "1e4"})",
        R"({"partial_rotary_factor": 0.5})",
        R"({"rope_parameters": {"partial_rotary_factor": 0.5}})"}) {
    EXPECT_NE(config_error(patch), "") << patch;
  }
}

TEST(Families, SizesThatAreWrong) {
  for (const char* key : {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                          "num_attention_heads", "max_position_embeddings"}) {
    for (const char* value : {"0", "-1", "9223372036854775807", "18446744073709551615", "1.5",
                              "\"4\"", "true", "[4]", "1073741824"}) {
      const std::string patch = std::string("{\"") + key + "\": " + value + "}";
      EXPECT_NE(config_error(patch.c_str()), "") << patch;
    }
  }
  for (const char* patch :
       {R"({"num_key_value_heads": 3})", R"({"num_key_value_heads": 0})",
        R"({"num_key_value_heads": 8})", R"({"head_dim": 0})", R"({"head_dim": 7})",
        R"({"head_dim": 16777216})", R"({"rms_norm_eps": 0})", R"({"rms_norm_eps": "x"})",
        R"({"hidden_size": null})", R"({"vocab_size": null})"}) {
    EXPECT_NE(config_error(patch), "") << patch;
  }
}

TEST(Families, WhatWouldChangeTheNumbersIsRefused) {
  for (const char* patch :
       {R"({"model_type": "gpt9"})", R"({"model_type": null})", R"({"model_type": 3})",
        R"({"hidden_act": "mish"})", R"({"quantization_config": {"bits": 4}})",
        R"({"is_encoder_decoder": true})", R"({"add_cross_attention": true})",
        R"({"attention_bias": "yes"})", R"({"tie_word_embeddings": 1})"}) {
    EXPECT_NE(config_error(patch), "") << patch;
  }
  EXPECT_THAT(config_error(R"({"model_type": "gpt9"})"), HasSubstr("llama, mistral, qwen2"));
  EXPECT_EQ(
      config_error(R"({"model_type": "mistral", "sliding_window": 128, "num_key_value_heads": 4})"),
      "");
  EXPECT_EQ(config_error(R"({"sliding_window": 64})"), "");  // Llama has none
}

TEST(Families, TokenIds) {
  EXPECT_NE(config_error(R"({"eos_token_id": 64})"), "");
  EXPECT_NE(config_error(R"({"eos_token_id": [1, -2]})"), "");
  EXPECT_NE(config_error(R"({"eos_token_id": "</s>"})"), "");
  EXPECT_NE(config_error(R"({"bos_token_id": 64})"), "");
  EXPECT_NE(config_error(R"({"pad_token_id": 9999999999})"), "");
  EXPECT_EQ(patched(R"({"pad_token_id": -1, "bos_token_id": -1})").pad_token_id, std::nullopt);
  EXPECT_EQ(patched(R"({"vocab_size": 2})").eos_token_ids, std::vector<int64_t>{});
}

TEST(Families, GenerationConfigDecidesWhatEndsAnAnswer) {
  DecoderConfig config = patched(R"({"eos_token_id": 2})");
  apply_generation_config(json::parse(R"({"eos_token_id": [7, 9], "pad_token_id": 3})"),
                          "generation_config.json", config);
  EXPECT_EQ(config.eos_token_ids, (std::vector<int64_t>{7, 9}));
  EXPECT_EQ(config.pad_token_id, 3);
  EXPECT_EQ(config.bos_token_id, 1);
  apply_generation_config(json::parse(R"({"eos_token_id": 5})"), "g", config);
  EXPECT_EQ(config.eos_token_ids, std::vector<int64_t>{5});
  apply_generation_config(json::parse(R"({"eos_token_id": null})"), "g", config);
  EXPECT_EQ(config.eos_token_ids, std::vector<int64_t>{5});
  for (const char* text : {R"({"eos_token_id": 64})", R"({"eos_token_id": "x"})", "[]", "3"}) {
    EXPECT_THAT(format_error([&] {
                  apply_generation_config(json::parse(text), "generation_config.json", config);
                }),
                HasSubstr("generation_config.json"));
  }
}

TEST(Families, Labels) {
  EXPECT_EQ(patched("{}").num_labels, 0);
  EXPECT_EQ(patched(R"({"architectures": ["LlamaForSequenceClassification"]})").num_labels, 2);
  EXPECT_EQ(patched(R"({"architectures": ["LlamaForSequenceClassification"],
                        "id2label": {"0": "LABEL_0"}})")
                .num_labels,
            1);
  EXPECT_EQ(patched(R"({"architectures": [3, "LlamaForCausalLM"]})").num_labels, 0);
  EXPECT_NE(config_error(R"({"architectures": ["LlamaForSequenceClassification"],
                         "num_labels": -1})"),
            "");
}

TEST(Families, MinusOneIsNoToken) {
  const DecoderConfig config = patched(
      R"({"eos_token_id": [-1, 7, 4294967295], "pad_token_id": 4294967295, "bos_token_id": -1})");
  EXPECT_EQ(config.eos_token_ids, std::vector<int64_t>{7});
  EXPECT_EQ(config.pad_token_id, std::nullopt);
  EXPECT_EQ(config.bos_token_id, std::nullopt);
  EXPECT_TRUE(patched(R"({"eos_token_id": -1})").eos_token_ids.empty());
  EXPECT_NE(config_error(R"({"pad_token_id": -2})"), "");
}

TEST(Families, InitializerRange) {
  EXPECT_EQ(patched("{}").initializer_range, 0.02);
  EXPECT_EQ(patched(R"({"initializer_range": 0.5})").initializer_range, 0.5);
  EXPECT_NE(config_error(R"({"initializer_range": -1})"), "");
}

TEST(Families, NamesInMessagesAreEscapedAndShort) {
  const std::string error =
      config_error(json{{"model_type", "\x1b[2J" + std::string(100'000, 'x')}}.dump().c_str());
  EXPECT_THAT(error, HasSubstr("'\\x1b[2Jxxx"));
  EXPECT_LT(error.size(), 400u);
}

}  // namespace
}  // namespace leash::testing

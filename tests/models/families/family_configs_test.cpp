// config.json of every family, in old and new spellings and with next to nothing said, against what
// transformers makes of it (tests/golden/make_family_configs.py).
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <vector>

#include "models/attention/rope.h"
#include "models/families/decoder_modules.h"
#include "models/families/families.h"
#include "tests/support/files.h"

namespace leash::testing {
namespace {

using nlohmann::json;

// At position 0 a cosine is the factor, at position 1 both are of the frequency itself.
void expect_rotation(const RopeConfig& rope, const json& expected) {
  const auto frequencies = expected["inverse_frequencies"].get<std::vector<double>>();
  const double factor = expected["attention_factor"];
  const RopeTable table = rope_table(rope, 2);
  ASSERT_EQ(table.sines.size(1), static_cast<int64_t>(frequencies.size()));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const auto column = static_cast<int64_t>(i);
    const double sine = table.sines[1][column].item<double>();
    EXPECT_NEAR(table.cosines[0][column].item<double>(), factor, 2e-7) << i;
    EXPECT_NEAR(sine, factor * std::sin(frequencies[i]), 2e-6 * std::abs(sine)) << i;
    EXPECT_NEAR(table.cosines[1][column].item<double>(), factor * std::cos(frequencies[i]), 2e-7)
        << i;
  }
}

double activation_at_1(Activation activation) {
  switch (activation) {
    case Activation::silu:
      return 1 / (1 + std::exp(-1.0));
    case Activation::gelu:
      return 0.5 * (1 + std::erf(std::numbers::sqrt2 / 2));
    case Activation::gelu_tanh:
      return 0.5 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * 1.044715));
    case Activation::relu:
      return 1;
  }
  return 0;
}

int64_t num_parameters(const DecoderConfig& config) {
  int64_t total = 0;
  for (const ModuleInfo& module : decoder_modules(config)) {
    if (config.tie_word_embeddings && module.role == ModuleRole::lm_head) continue;
    total += module.kind == ModuleKind::norm ? module.in_features
                                             : module.in_features * module.out_features;
    if (module.has_bias) total += module.out_features;
  }
  return total;
}

std::vector<int64_t> windows(const DecoderConfig& config) {
  std::vector<int64_t> result(static_cast<size_t>(config.num_layers), 0);
  for (size_t i = 0; i < config.layers.size(); ++i) result[i] = config.layers[i].window;
  return result;
}

// A window as wide as the context is none here.
std::vector<int64_t> expected_windows(const json& expected, int64_t max_positions) {
  auto result = expected["windows"].get<std::vector<int64_t>>();
  for (int64_t& window : result) window = window >= max_positions ? 0 : window;
  return result;
}

// An id that the vocabulary lacks, as a default may be, is none.
std::optional<int64_t> known_id(const json& id, int64_t vocab_size) {
  if (id.is_null() || id.get<int64_t>() >= vocab_size) return std::nullopt;
  return id.get<int64_t>();
}

void expect_layer_rotations(const DecoderConfig& config, const json& expected) {
  if (expected.contains("full_attention")) expect_rotation(config.rope, expected["full_attention"]);
  if (expected.contains("sliding_attention")) {
    ASSERT_TRUE(config.local_rope.has_value());
    expect_rotation(*config.local_rope, expected["sliding_attention"]);
  }
  if (!expected.contains("rotated")) return;
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const auto layer = static_cast<size_t>(i);
    const bool rotated = config.layers.empty() || config.layers[layer].rope != LayerRope::none;
    EXPECT_EQ(rotated, expected["rotated"][layer] == 1) << "layer " << i;
  }
}

TEST(GoldenFamilies, ConfigsOfEveryFamily) {
  const json rows = json::parse(read_text(repository("tests/golden/family_configs.json")));
  ASSERT_GE(rows.size(), 49U);
  for (const json& row : rows) {
    SCOPED_TRACE(row["name"].get<std::string>());
    const DecoderConfig config = config_from_json(row["config"], "config.json");
    const json& expected = row["expected"];
    EXPECT_EQ(config.num_layers, expected["num_layers"]);
    EXPECT_EQ(config.head_dim, expected["head_dim"]);
    EXPECT_NEAR(config.norm_epsilon, expected["epsilon"], 1e-12);
    EXPECT_EQ(config.tie_word_embeddings, expected["tie"]);
    const double scale = config.attention_scale == 0
                             ? 1 / std::sqrt(static_cast<double>(config.head_dim))
                             : config.attention_scale;
    EXPECT_NEAR(scale, expected["scale"], 1e-7);
    EXPECT_NEAR(activation_at_1(config.activation), expected["activation_at_1"], 1e-7);
    EXPECT_EQ(windows(config), expected_windows(expected, config.max_positions));
    EXPECT_EQ(num_parameters(config), expected["parameters"]);
    EXPECT_EQ(config.bos_token_id, known_id(expected["bos"], config.vocab_size));
    EXPECT_EQ(config.pad_token_id, known_id(expected["pad"], config.vocab_size));
    const auto eos = known_id(expected["eos"], config.vocab_size);
    EXPECT_EQ(config.eos_token_ids, eos ? std::vector<int64_t>{*eos} : std::vector<int64_t>{});
    expect_layer_rotations(config, expected);
  }
}

}  // namespace
}  // namespace leash::testing

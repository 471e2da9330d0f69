// Adapters: what a configuration addresses, how a fresh one starts, what belongs to it.
#include "models/lora/lora.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "models/errors.h"
#include "models/lora/python_pattern.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::same_bits;
using Names = std::vector<std::string>;

std::vector<ModuleInfo> small_model() {
  std::vector<ModuleInfo> modules = {{"model.embed_tokens", ModuleKind::embedding, 40, 16}};
  for (const char* layer : {"model.layers.0.", "model.layers.1."}) {
    for (const char* name : {"self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj"}) {
      const bool attention = name[0] == 's';
      modules.push_back(
          {std::string(layer) + name, ModuleKind::linear, 16, attention ? 16 : 24, attention});
    }
    modules.push_back({std::string(layer) + "input_layernorm", ModuleKind::norm, 16, 16});
  }
  modules.push_back({"model.norm", ModuleKind::norm, 16, 16});
  modules.push_back({"lm_head", ModuleKind::linear, 16, 40, false, ModuleRole::lm_head});
  return modules;
}

Names paths(const LoraConfig& config) {
  const auto modules = small_model();
  Names found;
  for (const LoraTarget& target : match_targets(config, modules)) {
    found.push_back(modules[static_cast<size_t>(target.module)].path);
  }
  return found;
}

std::string match_problem(const LoraConfig& config) {
  try {
    match_targets(config, small_model());
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no problem";
}

int64_t index_of(const std::string& path) {
  const auto modules = small_model();
  for (size_t i = 0; i < modules.size(); ++i) {
    if (modules[i].path == path) return static_cast<int64_t>(i);
  }
  throw std::runtime_error(path);
}

at::Tensor base_value(int64_t module, bool bias) {
  const ModuleInfo info = small_model()[static_cast<size_t>(module)];
  return at::full(bias ? bias_shape(info) : weight_shape(info),
                  static_cast<double>(module) + (bias ? 0.5 : 0.0), at::kBFloat16);
}

TEST(Lora, NamesMatchWholePartsAtTheEnd) {
  EXPECT_THAT(paths({.target_modules = Names{"q_proj"}}),
              ElementsAre("model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"));
  EXPECT_THAT(paths({.target_modules = Names{"1.mlp.up_proj", "lm_head"}}),
              ElementsAre("model.layers.1.mlp.up_proj", "lm_head"));
}

TEST(Lora, AnExpressionMatchesTheWholePath) {
  EXPECT_THAT(paths({.target_modules = R"(model\.layers\.[1-9]\d*\..*_proj)"}),
              ElementsAre("model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.v_proj",
                          "model.layers.1.mlp.up_proj"));
  EXPECT_THAT(match_problem({.target_modules = "q_proj"}), HasSubstr("`q_proj` matches no module"));
  EXPECT_THAT(match_problem({.target_modules = "q_proj,v_proj"}),
              HasSubstr("v_proj; as a list it is [q_proj,v_proj]"));
}

TEST(Lora, AllLinearLeavesTheHeadAlone) {
  EXPECT_EQ(paths({.target_modules = "all-linear"}).size(), 6u);
  EXPECT_EQ(paths({.target_modules = "All-LINEAR", .exclude_modules = Names{"mlp.up_proj"}}).size(),
            4u);
}

TEST(Lora, LayersAreFiltered) {
  EXPECT_THAT(paths({.target_modules = Names{"q_proj"}, .layers_to_transform = {1}}),
              ElementsAre("model.layers.1.self_attn.q_proj"));
  EXPECT_THAT(match_problem({.layers_to_transform = {0, 2, -1}}),
              HasSubstr("there is no layer 2; there are 0 to 1\n"
                        "lora.layers_to_transform: there is no layer -1"));
  EXPECT_THAT(match_problem({.target_modules = ".*q_proj", .layers_to_transform = {0}}),
              HasSubstr("only for a list of target_modules"));
}

TEST(Lora, WhatMatchesNothingIsAnErrorThatListsWhatExists) {
  const std::string text = match_problem({.target_modules = Names{"q_proj", "c_attn"},
                                          .exclude_modules = Names{"wpe"},
                                          .modules_to_save = {"wte"},
                                          .rank_pattern = {{"up_proj", 4}}});
  const std::string exist = "embed_tokens, input_layernorm, lm_head, norm, q_proj, up_proj, v_proj";
  EXPECT_EQ(text, "lora.target_modules: `c_attn` matches no module; there are: " + exist +
                      "\nlora.exclude_modules: `wpe` matches no module; there are: " + exist +
                      "\nlora.modules_to_save: `wte` matches no module; there are: " + exist +
                      "\nlora.rank_pattern: `up_proj` matches none of the targets");
  EXPECT_THAT(match_problem({.target_modules = Names{}}), HasSubstr("target_modules: empty"));
  EXPECT_THAT(match_problem({.exclude_modules = Names{"q_proj", "v_proj"}}),
              HasSubstr("no module is left to adapt"));
}

TEST(Lora, WhatCannotBeAdaptedIsAnError) {
  EXPECT_THAT(match_problem({.target_modules = Names{"embed_tokens"}}),
              HasSubstr("LoRA on the embedding model.embed_tokens is not supported yet"));
  EXPECT_THAT(match_problem({.target_modules = Names{"norm"}}),
              HasSubstr("model.norm is not a linear layer"));
  EXPECT_THAT(match_problem({.target_modules = Names{"mlp"}}),
              HasSubstr("model.layers.0.mlp is not a linear layer"));
  EXPECT_THAT(match_problem({.modules_to_save = {"proj"}}), HasSubstr("both address"));
  EXPECT_THAT(match_problem({.r = 0}), HasSubstr("lora.r: 0"));
  EXPECT_THAT(match_problem({.rank_pattern = {{"q_proj", 0}}}), HasSubstr("`q_proj` has rank 0"));
}

TEST(Lora, BadExpressionsAreErrors) {
  EXPECT_THAT(match_problem({.target_modules = "(q_proj"}),
              HasSubstr("lora.target_modules: `(q_proj` is not a regular expression"));
  EXPECT_THAT(match_problem({.alpha_pattern = {{"[", 1.0}}}), HasSubstr("lora.alpha_pattern: "));
  // Exponential backtracking ends with an error instead of never.
  const PythonPattern slow("(x+x+)+y", "lora.target_modules");
  EXPECT_THROW(slow.matches_whole(std::string(200, 'x') + "yz"), ConfigError);
}

TEST(Lora, AFreshAdapterComputesWhatTheBaseDoes) {
  for (const LoraInit init : {LoraInit::kaiming, LoraInit::gaussian}) {
    const auto adapter = Adapter::create({.init_lora_weights = init}, small_model(), 1);
    const LoraWeights& w = *adapter.lora(index_of("model.layers.0.self_attn.q_proj"));
    EXPECT_TRUE(same_bits(at::matmul(w.b, w.a), at::zeros({16, 16})));
    EXPECT_NE(w.a.abs().min().item<float>(), 0.0f);
    EXPECT_EQ(w.a.scalar_type(), at::kFloat);
  }
}

TEST(Lora, KaimingAndGaussianHaveTheirWidths) {
  const std::vector<ModuleInfo> wide = {{"model.layers.0.q_proj", ModuleKind::linear, 2500, 4}};
  LoraConfig config{.r = 40, .target_modules = Names{"q_proj"}};
  const at::Tensor uniform = Adapter::create(config, wide, 1).lora(0)->a;
  EXPECT_LE(uniform.abs().max().item<double>(), 1.0 / 50);
  // Five standard errors of 100,000 draws.
  EXPECT_NEAR(uniform.std().item<double>() * 50, std::sqrt(1.0 / 3), 0.003);
  config.init_lora_weights = LoraInit::gaussian;
  const at::Tensor normal = Adapter::create(config, wide, 1).lora(0)->a;
  EXPECT_NEAR(normal.std().item<double>() * 40, 1.0, 0.011);
  EXPECT_GT(normal.abs().max().item<double>() * 40, 3.5);
}

TEST(Lora, StartingValuesFollowSeedAndPath) {
  const auto a = [](std::vector<ModuleInfo> modules, uint64_t seed, size_t module) {
    const Adapter adapter = Adapter::create({.target_modules = "all-linear"}, modules, seed);
    return adapter.lora(static_cast<int64_t>(module))->a;
  };
  auto shorter = small_model();
  shorter.erase(shorter.begin());
  EXPECT_TRUE(same_bits(a(small_model(), 5, 1), a(shorter, 5, 0)));
  EXPECT_FALSE(same_bits(a(small_model(), 5, 1), a(small_model(), 6, 1)));
  EXPECT_FALSE(same_bits(a(small_model(), 5, 1), a(small_model(), 5, 2)));
}

TEST(Lora, ScalingAndPatterns) {
  const auto scaling = [](LoraConfig config) {
    return Adapter::create(config, small_model(), 1).lora(1)->scaling;
  };
  EXPECT_DOUBLE_EQ(scaling({.r = 4, .lora_alpha = 6}), 1.5);
  EXPECT_DOUBLE_EQ(scaling({.r = 4, .lora_alpha = 6, .use_rslora = true}), 3.0);
  EXPECT_DOUBLE_EQ(scaling({.r = 4,
                            .lora_alpha = 6,
                            .rank_pattern = {{"q_proj", 16}},
                            .alpha_pattern = {{R"(layers\.0\..*)", 8}}}),
                   0.5);
}

TEST(Lora, BiasesAndModulesToSaveAreCopiesOfTheBase) {
  LoraConfig config{.target_modules = Names{"q_proj"},
                    .bias = LoraBias::lora_only,
                    .modules_to_save = {"lm_head", "model.norm"}};
  auto adapter = Adapter::create(config, small_model(), 1, base_value);
  EXPECT_EQ(adapter.bias_copy(1)->sizes(), (std::vector<int64_t>{16}));
  EXPECT_EQ(adapter.bias_copy(1)->const_data_ptr<float>()[0], 1.5f);
  EXPECT_EQ(adapter.bias_copy(2), nullptr);
  EXPECT_EQ(adapter.weight_copy(index_of("lm_head"))->sizes(), (std::vector<int64_t>{40, 16}));
  EXPECT_EQ(adapter.weight_copy(1), nullptr);
  Names names;
  for (const auto& [name, tensor] : adapter.named_tensors()) names.push_back(name);
  EXPECT_THAT(names,
              ElementsAre("base_model.model.model.layers.0.self_attn.q_proj.base_layer.bias",
                          "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
                          "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight",
                          "base_model.model.model.layers.1.self_attn.q_proj.base_layer.bias",
                          "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight",
                          "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight",
                          "base_model.model.model.norm.weight", "base_model.model.lm_head.weight"));
  config.bias = LoraBias::all;
  EXPECT_NE(Adapter::create(config, small_model(), 1, base_value).bias_copy(2), nullptr);
  EXPECT_THROW(Adapter::create(config, small_model(), 1), c10::Error);
}

TEST(Lora, AScoreHeadIsSavedWithoutBeingNamed) {
  auto modules = small_model();
  modules.back() = score_module(16, 1);
  const auto base = [](int64_t, bool) { return at::zeros({1, 16}); };
  const auto adapter = Adapter::create({.task_type = TaskType::SEQ_CLS}, modules, 1, base);
  EXPECT_NE(adapter.weight_copy(static_cast<int64_t>(modules.size()) - 1), nullptr);
  EXPECT_THAT(adapter.config().modules_to_save, ElementsAre("classifier", "score"));
}

TEST(Lora, TensorsAreLeavesThatTrain) {
  auto adapter = Adapter::create({.bias = LoraBias::all}, small_model(), 1, base_value);
  ASSERT_EQ(adapter.parameters().size(), 12u);
  for (const at::Tensor& parameter : adapter.parameters()) {
    EXPECT_TRUE(parameter.is_leaf() && parameter.requires_grad());
    EXPECT_EQ(parameter.scalar_type(), at::kFloat);
  }
  EXPECT_EQ(adapter.num_parameters(), 4 * (8 * 16 * 2) + 4 * 16);
  adapter.set_trainable(false);
  EXPECT_TRUE(adapter.parameters().empty());
  EXPECT_EQ(adapter.num_parameters(), 4 * (8 * 16 * 2) + 4 * 16);
}

TEST(Lora, CopiesStandAlone) {
  auto original = Adapter::create({.bias = LoraBias::lora_only}, small_model(), 1, base_value);
  auto copy = original.clone();
  auto wide = original.to(at::kDouble);
  EXPECT_TRUE(copy.lora(1)->a.requires_grad() && copy.lora(1)->a.is_leaf());
  EXPECT_EQ(wide.bias_copy(1)->scalar_type(), at::kDouble);
  EXPECT_EQ(wide.lora(1)->scaling, original.lora(1)->scaling);
  EXPECT_TRUE(same_bits(wide.lora(1)->a.to(at::kFloat), original.lora(1)->a));
  copy.set_trainable(false);
  EXPECT_EQ(original.parameters().size(), 12u);
  copy.lora(1)->b.fill_(7.0);
  EXPECT_EQ(original.lora(1)->b.max().item<float>(), 0.0f);
  EXPECT_TRUE(copy.clone().parameters().empty());  // a frozen adapter's copy is frozen
}

TEST(Lora, WrongShapesAreRefused) {
  Adapter adapter({}, small_model());
  EXPECT_THROW(adapter.set_lora(1, {at::zeros({2, 15}), at::zeros({16, 2})}), c10::Error);
  EXPECT_THROW(adapter.set_lora(1, {at::zeros({2, 16}), at::zeros({16, 3})}), c10::Error);
  EXPECT_THROW(adapter.set_lora(0, {at::zeros({2, 40}), at::zeros({16, 2})}), c10::Error);
  EXPECT_THROW(adapter.set_weight_copy(0, at::zeros({16, 40})), c10::Error);
  EXPECT_THROW(adapter.set_bias_copy(0, at::zeros({16})), c10::Error);
  EXPECT_THROW(adapter.lora(99), c10::Error);
}

TEST(Lora, ParametersArePrintedAsPeftDoes) {
  const auto adapter = Adapter::create({.r = 100}, small_model(), 1);
  EXPECT_EQ(trainable_parameters_line(adapter, 1234567),
            "trainable params: 12,800 || all params: 1,247,367 || trainable%: 1.0262");
  const auto biases = Adapter::create({.bias = LoraBias::all}, small_model(), 1, base_value);
  EXPECT_EQ(trainable_parameters_line(biases, 1000),
            "trainable params: 1,088 || all params: 2,024 || trainable%: 53.7549");
}

TEST(Lora, TheFirstPatternThatFitsDecides) {
  const auto rank = [](const LoraConfig& config) {
    return match_targets(config, small_model()).at(0).r;
  };
  EXPECT_EQ(rank({.target_modules = Names{"q_proj"}, .rank_pattern = {{"q_proj", 2}, {".*", 4}}}),
            2);
  EXPECT_EQ(rank({.target_modules = Names{"q_proj"}, .rank_pattern = {{".*", 4}, {"q_proj", 2}}}),
            4);
}

}  // namespace
}  // namespace leash

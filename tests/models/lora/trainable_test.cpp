// lora.trainable: which modules of the base train whole, and that nothing below them is computed.
#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>

#include <set>

#include "models/decoder/decoder.h"
#include "models/decoder/start_adapter.h"
#include "models/errors.h"
#include "models/lora/peft_adapter.h"
#include "tests/support/files.h"
#include "tests/support/heard_notices.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using testing::all_close;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::tiny_decoder;
using Names = std::vector<std::string>;

// A model whose layers 1 and 11 are easily taken for each other.
std::vector<ModuleInfo> deep_model() {
  std::vector<ModuleInfo> modules = {{"model.embed_tokens", ModuleKind::embedding, 40, 16}};
  for (const char* layer : {"1", "2", "11"}) {
    const std::string prefix = std::string("model.layers.") + layer;
    modules.push_back({prefix + ".mlp.up_proj", ModuleKind::linear, 16, 24});
    modules.push_back({prefix + ".input_layernorm", ModuleKind::norm, 16, 16});
  }
  modules.push_back({"model.norm", ModuleKind::norm, 16, 16});
  modules.push_back({"lm_head", ModuleKind::linear, 16, 40, false, ModuleRole::lm_head});
  return modules;
}

Names resolved(const Names& patterns, LoraConfig config = {}) {
  config.trainable = patterns;
  const LoraConfig result = with_trainable_paths(config, deep_model());
  EXPECT_THAT(result.trainable, IsEmpty());
  return result.modules_to_save;
}

std::string trainable_problem(const LoraConfig& config) {
  try {
    match_modules(with_trainable_paths(config, deep_model()), deep_model());
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no problem";
}

TEST(Trainable, APatternMatchesAPathAWeightOrABlock) {
  EXPECT_THAT(resolved({"model.layers.1"}),
              ElementsAre("model.layers.1.mlp.up_proj", "model.layers.1.input_layernorm"));
  EXPECT_THAT(resolved({R"(model\.layers\.(2|11)\.mlp.*)"}),
              ElementsAre("model.layers.2.mlp.up_proj", "model.layers.11.mlp.up_proj"));
  EXPECT_THAT(resolved({"model.norm.weight"}), ElementsAre("model.norm"));
  EXPECT_THAT(resolved({"model.norm", "lm_head"}), ElementsAre("model.norm", "lm_head"));
  EXPECT_THAT(resolved({"model.norm"}, {.modules_to_save = {"model.norm"}}),
              ElementsAre("model.norm"));
}

TEST(Trainable, WhatMatchesNothingIsAnErrorThatListsWhatExists) {
  EXPECT_EQ(trainable_problem({.trainable = {"layers.1", "model.norm"}}),
            "lora.trainable: `layers.1` matches no module; there are: model.embed_tokens, "
            "model.layers.N.mlp.up_proj, model.layers.N.input_layernorm, model.norm, lm_head (N: 1 "
            "to 11)");
  EXPECT_THAT(trainable_problem({.trainable = {"("}}), HasSubstr("lora.trainable"));
}

TEST(Trainable, WithoutUpdatesTheModulesTrainAlone) {
  LoraConfig config{.target_modules = Names{}};
  EXPECT_THAT(trainable_problem(config), HasSubstr("lora.target_modules: empty"));
  config.trainable = {"model.norm"};
  EXPECT_EQ(trainable_problem(config), "no problem");
  // Layer 1's name does not bring layer 11's copy along.
  config.trainable = {"model.layers.1"};
  const LoraMatches matches =
      match_modules(with_trainable_paths(config, deep_model()), deep_model());
  EXPECT_THAT(matches.targets, IsEmpty());
  EXPECT_THAT(matches.weight_copies, ElementsAre(1, 2));
}

TEST(Trainable, AModuleThatTrainsWholeHasNoUpdate) {
  LoraConfig config{.target_modules = Names{"up_proj"}, .trainable = {"model.layers.2"}};
  const LoraMatches matches =
      match_modules(with_trainable_paths(config, deep_model()), deep_model());
  ASSERT_EQ(matches.targets.size(), 2u);
  EXPECT_EQ(matches.targets[0].module, 1);
  EXPECT_EQ(matches.targets[1].module, 5);
  EXPECT_THAT(matches.weight_copies, ElementsAre(3, 4));
}

TEST(Trainable, NothingReadsTheLogitsOfAClassifier) {
  auto modules = deep_model();
  modules.push_back(score_module(16, 3));
  LoraConfig config{.task_type = TaskType::SEQ_CLS, .trainable = {".*"}};
  const Names saved = with_trainable_paths(config, modules).modules_to_save;
  EXPECT_EQ(saved.size(), 8u);
  EXPECT_THAT(saved, ::testing::Not(::testing::Contains("lm_head")));
  config.trainable = {"lm_head"};
  EXPECT_THROW(with_trainable_paths(config, modules), ConfigError);
}

Adapter top_only(const Decoder& decoder, const Names& patterns) {
  return Adapter::create(
      {.target_modules = Names{}, .trainable = patterns}, decoder.modules(), 1,
      [&](int64_t module, bool bias) { return decoder.base_value(module, bias); });
}

int64_t num_nodes(const at::Tensor& loss) {
  std::set<const torch::autograd::Node*> seen;
  std::vector<const torch::autograd::Node*> open = {loss.grad_fn().get()};
  while (!open.empty()) {
    const torch::autograd::Node* node = open.back();
    open.pop_back();
    if (node == nullptr || !seen.insert(node).second) continue;
    for (const auto& edge : node->next_edges()) open.push_back(edge.function.get());
  }
  return static_cast<int64_t>(seen.size());
}

TEST(Trainable, TheGraphEndsAtTheLowestTrainedModule) {
  const std::vector<int64_t> ids = {5, 9, 1, 77, 3};
  const auto nodes = [&](int64_t layers, const Names& patterns, bool recompute) {
    const auto decoder = tiny_decoder(at::kFloat, {.num_layers = layers});
    const Adapter adapter = top_only(*decoder, patterns);
    const ForwardOptions options{.recompute_blocks = recompute};
    return num_nodes(decoder->forward(pack_one(ids), adapter, options).sum());
  };
  for (const bool recompute : {false, true}) {
    EXPECT_EQ(nodes(2, {"model.layers.1.mlp"}, recompute),
              nodes(5, {"model.layers.4.mlp"}, recompute));
    EXPECT_LT(nodes(2, {"model.layers.1.mlp"}, recompute),
              nodes(2, {"model.layers.0.mlp", "model.layers.1.mlp"}, recompute));
  }
  EXPECT_LT(nodes(2, {"model.norm"}, false), nodes(2, {"model.layers.1.mlp.down_proj"}, false));
}

TEST(Trainable, CopiesStartAsTheBaseAndRecomputationGivesTheirGradients) {
  const auto decoder = tiny_decoder(at::kDouble);
  const PackedTokens tokens = pack(std::vector<std::vector<int64_t>>{{5, 9, 1, 77, 3}, {8, 2}});
  const Adapter adapter = top_only(*decoder, {"model.layers.1", "model.norm"}).to(at::kDouble);
  EXPECT_TRUE(
      all_close(decoder->forward(tokens, adapter).detach(), decoder->forward(tokens), 0, 1e-12));
  const auto gradients = [&](bool recompute) {
    const at::Tensor hidden = decoder->forward(tokens, adapter, {.recompute_blocks = recompute});
    return torch::autograd::grad({hidden.square().sum() * 0.5 + hidden.sum()},
                                 adapter.parameters());
  };
  const auto plain = gradients(false), recomputed = gradients(true);
  ASSERT_EQ(plain.size(), 10u);  // nine modules of the layer, and the norm
  for (size_t i = 0; i < plain.size(); ++i) {
    EXPECT_GT(plain[i].abs().max().item<double>(), 1e-6) << i;
    EXPECT_TRUE(all_close(recomputed[i], plain[i], 0, 1e-12)) << i;
  }
}

TEST(Trainable, TheFolderHasPeftsWordForNoUpdates) {
  const auto decoder = tiny_decoder();
  const testing::ScratchFolder scratch;
  save_adapter(scratch / "a", top_only(*decoder, {"model.norm"}), "base");
  EXPECT_THAT(testing::read_text(scratch / "a/adapter_config.json"),
              HasSubstr("\"target_modules\": \"dummy-target-modules\""));
  const Adapter again = load_adapter(scratch / "a", decoder->modules());
  EXPECT_EQ(again.config().target_modules, StringOrList(Names{}));
  EXPECT_EQ(again.parameters().size(), 1u);
}

// As PEFT: an embedding that trains and a head that does not are tied no more.
TEST(Trainable, OneOfTwoTiedModulesIsSaid) {
  testing::HeardNotices heard;
  const auto start = [](const LoraConfig& config, bool tied) {
    fresh_adapter(config, *testing::tiny_decoder(at::kFloat, {.tie_word_embeddings = tied}), 1);
  };
  start({.modules_to_save = {"norm"}}, true);
  start({.modules_to_save = {"embed_tokens"}}, false);
  EXPECT_TRUE(heard.texts.empty());
  start({.modules_to_save = {"embed_tokens"}}, true);
  start({.target_modules = std::vector<std::string>{"lm_head"}}, true);
  EXPECT_THAT(heard.texts,
              ElementsAre(HasSubstr("changes model.embed_tokens"), HasSubstr("changes lm_head")));
}

}  // namespace
}  // namespace leash

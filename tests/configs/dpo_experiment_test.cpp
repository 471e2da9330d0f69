// Recipes of `task: dpo`: what is read, refused and written back.
#include <gmock/gmock.h>

#include "configs/experiment.h"
#include "tests/configs/recipes.h"
#include "tests/support/files.h"

namespace leash {
namespace {

using testing::error_of;
using testing::experiment_of;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kDpo[] = "task: dpo\ndata: {train: t.jsonl}\n";

DpoSetup dpo_setup(const std::vector<std::string>& overrides = {}) {
  return std::get<DpoSetup>(experiment_of(kDpo, overrides).setup);
}

TEST(DpoRecipe, DefaultsAreTrls) {
  const DpoSetup setup = dpo_setup();
  EXPECT_EQ(setup.dpo.loss_type.values, std::vector<DpoLoss>{DpoLoss::sigmoid});
  EXPECT_FALSE(setup.dpo.loss_weights);
  EXPECT_EQ(setup.dpo.beta, 0.1);
  EXPECT_EQ(setup.dpo.label_smoothing, 0);
  EXPECT_FALSE(setup.dpo.ld_alpha);
  EXPECT_TRUE(setup.dpo.disable_dropout);
  EXPECT_FALSE(setup.dpo.precompute_ref_log_probs);
  EXPECT_EQ(setup.dpo.num_train_epochs, 3);
  EXPECT_EQ(setup.dpo.per_device_train_batch_size, 8);
  EXPECT_EQ(setup.dpo.lr_scheduler_type, SchedulerType::linear);
  EXPECT_EQ(setup.data.max_length, 1024);
  EXPECT_EQ(setup.data.truncation_mode, PairTruncation::keep_start);
  EXPECT_FALSE(setup.data.end_at_eos);
  EXPECT_EQ(setup.data.ties, Ties::drop);
  EXPECT_FALSE(setup.reference.kind);
  EXPECT_EQ(setup.lora.task_type, TaskType::CAUSAL_LM);
}

TEST(DpoRecipe, ALossIsOneOrAList) {
  EXPECT_EQ(dpo_setup({"dpo.loss_type=ipo"}).dpo.loss_type.values,
            std::vector<DpoLoss>{DpoLoss::ipo});
  const LoadedExperiment several = parse_experiment(
      std::string(kDpo) + "dpo: {loss_type: [sigmoid, sft], loss_weights: [1, 0.5]}\n", "r.yaml",
      "/recipes", {});
  const std::string resolved = resolved_yaml(several.experiment);
  EXPECT_THAT(resolved, HasSubstr("  loss_type: [sigmoid, sft]\n"));
  EXPECT_EQ(resolved_yaml(experiment_of(resolved)), resolved);
  EXPECT_THAT(resolved_yaml(experiment_of(kDpo)), HasSubstr("  loss_type: sigmoid\n"));
}

TEST(DpoRecipe, WhatTrlHasAndIsNotBuiltIsRefusedByName) {
  for (const char* type :
       {"exo_pair", "nca_pair", "bco_pair", "aot", "aot_unpaired", "discopop", "sigmoid_norm"}) {
    EXPECT_THAT(error_of(kDpo, {std::string("dpo.loss_type=") + type}),
                HasSubstr("TRL has this loss, which is not built here"))
        << type;
  }
  EXPECT_THAT(error_of(kDpo, {"dpo.loss_type=sigmid"}), HasSubstr("did you mean `sigmoid`?"));
  const std::pair<const char*, const char*> keys[] = {
      {"f_divergence_type=forward_kl", "f-divergences of TRL's DPO are not built here"},
      {"use_weighting=true", "WPO's weights of TRL's DPO are not built here"},
      {"discopop_tau=0.1", "discopop of TRL's DPO is not built here"},
      {"precompute_ref_batch_size=4", "passes are bounded by micro_batch_tokens"},
      {"padding_free=true", "no padding goes through a model here"},
      {"pad_token=x", "no padding goes through a model here"},
      {"activation_offloading=true", "model.gradient_checkpointing: true"},
      {"router_aux_loss_coef=0.1", "models with experts are not supported here"},
      {"sync_ref_model=true", "it is `reference: {kind: follow}` here"},
      {"max_length=10", "it is `data.max_length` here"},
      {"model_init_kwargs={}", "how a model is loaded stands in `model:`"}};
  for (const auto& [key, hint] : keys) {
    EXPECT_THAT(error_of(kDpo, {std::string("dpo.") + key}), HasSubstr(hint)) << key;
  }
}

TEST(DpoRecipe, ContradictionsAndSettingsWithoutEffectAreNamed) {
  EXPECT_THAT(error_of("task: dpo\n"), HasSubstr("data.train: is missing"));
  EXPECT_THAT(error_of(kDpo, {"dpo.loss_weights=[1, 2]"}),
              HasSubstr("dpo.loss_weights: has 2 numbers for 1 of dpo.loss_type"));
  EXPECT_THAT(error_of(kDpo, {"dpo.loss_type=[]"}), HasSubstr("dpo.loss_type: is an empty list"));
  EXPECT_THAT(error_of(kDpo, {"dpo.label_smoothing=0.1"}),
              HasSubstr("dpo.label_smoothing: has no effect without dpo.loss_type: robust"));
  EXPECT_THAT(error_of(kDpo, {"dpo.loss_type=sft", "dpo.ld_alpha=0.5"}),
              HasSubstr("dpo.ld_alpha: has no effect"));
  EXPECT_THAT(error_of(kDpo, {"dpo.beta=0"}), HasSubstr("dpo.beta: has to be above 0"));
  EXPECT_THAT(error_of(kDpo, {"dpo.ld_alpha=1.5"}), HasSubstr("dpo.ld_alpha"));
  EXPECT_THAT(error_of(kDpo, {"dpo.loss_type=robust", "dpo.label_smoothing=0.5"}),
              HasSubstr("dpo.label_smoothing"));
  EXPECT_THAT(error_of(kDpo, {"lora.lora_dropout=0.1"}),
              HasSubstr("lora.lora_dropout: has no effect with dpo.disable_dropout: true"));
  EXPECT_THAT(error_of(kDpo, {"lora.task_type=SEQ_CLS"}), HasSubstr("CAUSAL_LM"));
  EXPECT_THAT(error_of(kDpo, {"reference.kind=model"}), HasSubstr("model needs reference.path"));
  EXPECT_THAT(error_of(kDpo, {"reference.path=x"}),
              HasSubstr("reference.path: has no effect without reference.kind"));
  EXPECT_THAT(error_of(kDpo, {"dpo.eval_answers=3"}), HasSubstr("has no effect"));
  EXPECT_THAT(error_of(kDpo, {"data.ties=some"}), HasSubstr("data.ties"));
  EXPECT_EQ(error_of(kDpo, {"dpo.loss_type=[robust, sft]", "dpo.label_smoothing=0.1",
                            "lora.lora_dropout=0.1", "dpo.disable_dropout=false",
                            "data.eval_split=0.1", "dpo.eval_strategy=epoch", "data.ties=half"}),
            "no error");
}

TEST(DpoRecipe, TheShippedOneReadsBackFromItsResolvedText) {
  const LoadedExperiment loaded = load_experiment(testing::repository("configs/recipes/dpo.yaml"));
  EXPECT_TRUE(loaded.warnings.empty());
  const std::string resolved = resolved_yaml(loaded.experiment);
  EXPECT_THAT(resolved, HasSubstr("task: dpo\n"));
  EXPECT_EQ(resolved_yaml(experiment_of(resolved)), resolved);
}

}  // namespace
}  // namespace leash

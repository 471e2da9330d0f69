// Recipes of `task: sft`: what is read, refused and written back.
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

constexpr char kSft[] = "task: sft\ndata: {train: t.jsonl}\n";

TEST(SftRecipe, DefaultsAreTransformersAndTrls) {
  const auto setup = std::get<SftSetup>(experiment_of(kSft).setup);
  EXPECT_EQ(setup.sft.learning_rate, 5e-5);
  EXPECT_EQ(setup.sft.num_train_epochs, 3);
  EXPECT_EQ(setup.sft.max_steps, -1);
  EXPECT_EQ(setup.sft.per_device_train_batch_size, 8);
  EXPECT_EQ(setup.sft.lr_scheduler_type, SchedulerType::linear);
  EXPECT_EQ(setup.data.max_length, 1024);
  EXPECT_TRUE(setup.data.append_eos);
  EXPECT_EQ(setup.data.train, "/recipes/t.jsonl");
}

TEST(SftRecipe, TheTutorialReadsBackFromItsResolvedText) {
  const auto recipe = testing::repository("configs/recipes/sft_tutorial.yaml");
  const LoadedExperiment loaded = load_experiment(recipe);
  EXPECT_TRUE(loaded.warnings.empty());
  const auto setup = std::get<SftSetup>(loaded.experiment.setup);
  EXPECT_EQ(setup.lora.r, 16);
  EXPECT_EQ(setup.sft.max_steps, 40);
  EXPECT_EQ(setup.sft.eval_strategy, EvalStrategy::steps);
  const std::string resolved = resolved_yaml(loaded.experiment);
  EXPECT_THAT(resolved, HasSubstr("task: sft\n"));
  EXPECT_THAT(resolved, Not(HasSubstr("eval_split")));  // no effect beside data.eval
  EXPECT_EQ(resolved_yaml(experiment_of(resolved)), resolved);
}

TEST(SftRecipe, SettingsOfAnotherTaskAreUnknown) {
  EXPECT_THAT(error_of(std::string(kSft) + "ppo: {kl_coef: 0.1}\n"),
              HasSubstr("r.yaml:3: ppo: there is no such setting; it belongs to task: ppo"));
}

TEST(SftRecipe, ContradictionsAndSettingsWithoutEffectAreNamed) {
  EXPECT_THAT(error_of("task: sft\n"), HasSubstr("data.train: is missing"));
  EXPECT_THAT(error_of(kSft, {"sft.eval_strategy=steps"}), HasSubstr("needs data.eval"));
  EXPECT_THAT(error_of(kSft, {"sft.eval_steps=3"}), HasSubstr("sft.eval_steps: has no effect"));
  EXPECT_THAT(error_of(kSft, {"sft.early_stopping_patience=3"}), HasSubstr("has no effect"));
  EXPECT_THAT(error_of(kSft, {"data.shuffle=false", "sft.group_by_length=true"}),
              HasSubstr("sft.group_by_length: has no effect with data.shuffle: false"));
  EXPECT_THAT(error_of(kSft, {"sft.lr_scheduler_kwargs={power: 2}"}),
              HasSubstr("`power` that lr_scheduler_type: linear does not read"));
  EXPECT_THAT(error_of(kSft, {"sft.max_steps=0"}), HasSubstr("sft.max_steps: has to be above 0"));
  EXPECT_THAT(error_of(kSft, {"lora.task_type=SEQ_CLS"}), HasSubstr("CAUSAL_LM"));
  EXPECT_THAT(error_of(kSft, {"sft.optim=lion"}), HasSubstr("adamw_torch"));
  EXPECT_THAT(error_of(kSft, {"sft.lr_scheduler_type=warmup_stable_decay"}),
              HasSubstr("lacks num_decay_steps of warmup_stable_decay"));
  EXPECT_THAT(error_of(kSft, {"sft.lr_scheduler_type=cosine_with_min_lr"}),
              HasSubstr("lacks min_lr or min_lr_rate"));
  EXPECT_EQ(
      error_of(kSft, {"sft.lr_scheduler_type=polynomial", "sft.lr_scheduler_kwargs={power: 2}",
                      "data.eval_split=0.1", "sft.eval_strategy=epoch"}),
      "no error");
}

TEST(SftRecipe, SnapshotsByStrategy) {
  const auto setup = std::get<SftSetup>(experiment_of(kSft, {"run.save_strategy=epoch"}).setup);
  EXPECT_EQ(setup.run.save_strategy, SaveStrategy::epoch);
  EXPECT_EQ(std::get<SftSetup>(experiment_of(kSft).setup).run.save_strategy, SaveStrategy::steps);
  EXPECT_THAT(error_of(kSft, {"run.save_strategy=no", "run.save_steps=3"}),
              HasSubstr("run.save_steps: has no effect without run.save_strategy: steps"));
  EXPECT_THAT(resolved_yaml(experiment_of(kSft, {"run.save_strategy=no"})),
              Not(HasSubstr("save_steps")));
  EXPECT_THAT(error_of("task: ppo\ndata: {train: p.jsonl}\nreward: [{kind: function, name: length, "
                       "parameters: {target: 5}}]\n",
                       {"run.save_strategy=epoch"}),
              HasSubstr("run.save_strategy: epoch is for the supervised tasks"));
}

// What a user who comes from transformers writes.
TEST(SftRecipe, SettingsThatAreElsewhereOrNowhereAreExplained) {
  EXPECT_THAT(error_of(kSft, {"run.resume_from_checkpoint=true"}),
              HasSubstr("`leash train RECIPE --run-dir DIR --resume`"));
  EXPECT_THAT(error_of(kSft, {"sft.metric_for_best_model=eval_accuracy"}),
              HasSubstr("the one with the lowest held-out loss"));
  EXPECT_THAT(error_of(kSft, {"run.per_device_train_batch_size=4"}),
              HasSubstr("or sft., reward., dpo., ….per_device_train_batch_size"));
  EXPECT_THAT(error_of(kSft, {"sft.save_strategy=no"}),
              HasSubstr("it is `run.save_strategy` here"));
  EXPECT_THAT(error_of(kSft, {"model.dtype=half"}), HasSubstr("not `half`: it is `float16` here"));
  EXPECT_THAT(error_of(kSft, {"sft.fp16=true"}), HasSubstr("it is `model.dtype: float16` here"));
}

TEST(SftRecipe, Float16IsForTheSupervisedTasks) {
  const auto setup = std::get<SftSetup>(
      experiment_of(kSft, {"model.dtype=float16", "sft.fp16_init_scale=1024"}).setup);
  EXPECT_EQ(setup.model.dtype, DtypeChoice::float16);
  EXPECT_EQ(setup.sft.fp16_init_scale, 1024);
  EXPECT_EQ(setup.sft.fp16_growth_interval, 2000);
  for (const char* setting : {"sft.fp16_init_scale=1024", "sft.fp16_growth_interval=3"}) {
    EXPECT_THAT(error_of(kSft, {setting}), HasSubstr("has no effect without model.dtype: float16"));
  }
  EXPECT_THAT(error_of(kSft, {"model.dtype=float16", "sft.fp16_init_scale=0"}),
              HasSubstr("sft.fp16_init_scale"));
  EXPECT_THAT(resolved_yaml(experiment_of(kSft)), Not(HasSubstr("fp16")));
  EXPECT_THAT(resolved_yaml(experiment_of(kSft, {"model.dtype=float16"})),
              HasSubstr("fp16_init_scale: 65536"));
  EXPECT_THAT(error_of("task: ppo\ndata: {train: p.jsonl}\nreward: [{kind: function, name: length, "
                       "parameters: {target: 5}}]\n",
                       {"model.dtype=float16"}),
              HasSubstr("model.dtype: float16 is for the supervised tasks: PPO's update"));
}

TEST(SftRecipe, DocsHaveBothTasks) {
  const std::string docs = settings_markdown();
  EXPECT_THAT(docs, HasSubstr("# `task: ppo`"));
  EXPECT_THAT(docs, HasSubstr("# `task: sft`"));
  EXPECT_THAT(docs, HasSubstr("`neftune_noise_alpha`"));
}

}  // namespace
}  // namespace leash

// Recipes of `task: reward`: what is read, refused and written back.
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

constexpr char kReward[] = "task: reward\ndata: {train: t.jsonl}\n";

TEST(RewardRecipe, DefaultsAreTrls) {
  const auto setup = std::get<RewardSetup>(experiment_of(kReward).setup);
  EXPECT_EQ(setup.reward.learning_rate, 1e-4);
  EXPECT_EQ(setup.reward.num_train_epochs, 3);
  EXPECT_EQ(setup.reward.per_device_train_batch_size, 8);
  EXPECT_EQ(setup.reward.lr_scheduler_type, SchedulerType::linear);
  EXPECT_FALSE(setup.reward.center_rewards_coefficient);
  EXPECT_TRUE(setup.reward.disable_dropout);
  EXPECT_EQ(setup.data.max_length, 1024);
  EXPECT_EQ(setup.data.truncation_mode, PairTruncation::drop);
  EXPECT_EQ(setup.data.train, "/recipes/t.jsonl");
  EXPECT_EQ(setup.lora.task_type, TaskType::SEQ_CLS);
  EXPECT_EQ(std::get<RewardSetup>(experiment_of(kReward, {"lora.r=3"}).setup).lora.task_type,
            TaskType::SEQ_CLS);
}

TEST(RewardRecipe, TheShippedOneReadsBackFromItsResolvedText) {
  const auto recipe = testing::repository("configs/recipes/reward.yaml");
  const LoadedExperiment loaded = load_experiment(recipe);
  EXPECT_TRUE(loaded.warnings.empty());
  const std::string resolved = resolved_yaml(loaded.experiment);
  EXPECT_THAT(resolved, HasSubstr("task: reward\n"));
  EXPECT_EQ(resolved_yaml(experiment_of(resolved)), resolved);
}

TEST(RewardRecipe, SettingsOfAnotherTaskAreUnknown) {
  EXPECT_THAT(error_of(std::string(kReward) + "sft: {max_steps: 3}\n"),
              HasSubstr("r.yaml:3: sft: there is no such setting"));
  EXPECT_THAT(error_of(kReward, {"reward.neftune_noise_alpha=5"}), HasSubstr("no such setting"));
}

TEST(RewardRecipe, ContradictionsAndSettingsWithoutEffectAreNamed) {
  EXPECT_THAT(error_of("task: reward\n"), HasSubstr("data.train: is missing"));
  EXPECT_THAT(error_of(kReward, {"reward.eval_strategy=steps"}), HasSubstr("needs data.eval"));
  EXPECT_THAT(error_of(kReward, {"reward.eval_steps=3"}),
              HasSubstr("reward.eval_steps: has no effect"));
  EXPECT_THAT(error_of(kReward, {"reward.eval_answers=3"}), HasSubstr("has no effect"));
  EXPECT_THAT(error_of(kReward, {"lora.task_type=CAUSAL_LM"}), HasSubstr("SEQ_CLS"));
  EXPECT_THAT(error_of(kReward, {"lora.lora_dropout=0.1"}),
              HasSubstr("lora.lora_dropout: has no effect with reward.disable_dropout: true"));
  EXPECT_THAT(error_of(kReward, {"reward.label_smoothing=0.5"}),
              HasSubstr("reward.label_smoothing"));
  EXPECT_THAT(error_of(kReward, {"reward.lr_scheduler_kwargs={power: 2}"}),
              HasSubstr("`power` that lr_scheduler_type: linear does not read"));
  EXPECT_EQ(error_of(kReward, {"lora.lora_dropout=0.1", "reward.disable_dropout=false",
                               "data.eval_split=0.1", "reward.eval_strategy=epoch",
                               "reward.center_rewards_coefficient=0.01"}),
            "no error");
}

TEST(RewardRecipe, DocsHaveIt) {
  const std::string docs = settings_markdown();
  EXPECT_THAT(docs, HasSubstr("# `task: reward`"));
  EXPECT_THAT(docs, HasSubstr("`center_rewards_coefficient`"));
}

}  // namespace
}  // namespace leash

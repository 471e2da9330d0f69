// Recipes of `task: classification`: what is read, refused and written back.
#include <gmock/gmock.h>

#include "configs/experiment.h"
#include "tests/configs/recipes.h"
#include "tests/support/files.h"

namespace leash {
namespace {

using testing::error_of;
using testing::experiment_of;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr char kClassification[] = "task: classification\ndata: {train: t.jsonl}\n";

ClassificationSetup classification_setup(const std::vector<std::string>& overrides = {}) {
  return std::get<ClassificationSetup>(experiment_of(kClassification, overrides).setup);
}

TEST(ClassificationRecipe, DefaultsAreTransformers) {
  const ClassificationSetup setup = classification_setup();
  EXPECT_EQ(setup.classification.learning_rate, 5e-5);
  EXPECT_EQ(setup.classification.num_train_epochs, 3);
  EXPECT_EQ(setup.classification.label_smoothing_factor, 0);
  EXPECT_EQ(setup.data.train, "/recipes/t.jsonl");
  EXPECT_THAT(setup.data.labels, IsEmpty());
  EXPECT_EQ(setup.lora.task_type, TaskType::SEQ_CLS);
  EXPECT_EQ(classification_setup({"lora.r=3"}).lora.task_type, TaskType::SEQ_CLS);
}

TEST(ClassificationRecipe, ContradictionsAndSettingsWithoutEffectAreNamed) {
  EXPECT_THAT(error_of(kClassification, {"data.train="}), HasSubstr("data.train"));
  EXPECT_THAT(error_of(kClassification, {"classification.eval_strategy=steps"}),
              HasSubstr("needs data.eval"));
  EXPECT_THAT(error_of(kClassification, {"classification.eval_answers=3"}),
              HasSubstr("has no effect"));
  EXPECT_THAT(error_of(kClassification, {"lora.task_type=CAUSAL_LM"}), HasSubstr("SEQ_CLS"));
  EXPECT_THAT(error_of(kClassification, {"data.labels=[a]"}),
              HasSubstr("data.labels: has one class"));
  EXPECT_THAT(error_of(kClassification, {"data.labels=[a, b, a]"}), HasSubstr("has `a` twice"));
  EXPECT_THAT(error_of(kClassification, {"lora.target_modules=[]", "lora.r=4"}),
              HasSubstr("lora.r: has no effect with lora.target_modules: []"));
  EXPECT_THAT(error_of(kClassification, {"lora.path=x", "lora.trainable=[model.norm]"}),
              HasSubstr("lora.trainable: has no effect with lora.path"));
  EXPECT_EQ(error_of(kClassification,
                     {"lora.target_modules=[]", "lora.trainable=[model.norm]", "data.labels=[a, b]",
                      "data.eval_split=0.1", "classification.eval_strategy=epoch",
                      "classification.label_smoothing_factor=0.1"}),
            "no error");
}

TEST(ClassificationRecipe, ReadsBackFromItsResolvedText) {
  const auto loaded = parse_experiment(
      "task: classification\nlora: {target_modules: [], trainable: ['model.layers.(28|29)', "
      "model.norm]}\ndata: {train: t.jsonl, labels: ['no', b]}\n",
      "c.yaml", "/recipes");
  const std::string resolved = resolved_yaml(loaded.experiment);
  EXPECT_THAT(resolved, HasSubstr("task: classification\n"));
  EXPECT_THAT(resolved, Not(HasSubstr("lora_alpha")));
  const auto again = parse_experiment(resolved, "resolved.yaml", "/elsewhere").experiment;
  EXPECT_EQ(resolved_yaml(again), resolved);
  EXPECT_EQ(std::get<ClassificationSetup>(again.setup).data.labels,
            (std::vector<std::string>{"no", "b"}));
}

TEST(ClassificationRecipe, DocsHaveIt) {
  EXPECT_THAT(settings_markdown(), HasSubstr("# `task: classification`"));
}

}  // namespace
}  // namespace leash

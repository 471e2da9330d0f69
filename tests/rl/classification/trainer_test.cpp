// Whole runs of training a classifier: exact resume, labels beside the adapter, where it starts.
#include "rl/classification/trainer.h"

#include <gmock/gmock.h>

#include "models/decoder/score_head.h"
#include "models/errors.h"
#include "models/lora/peft_adapter.h"
#include "rl/classification/class_labels.h"
#include "tests/rl/sft/run.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using ::testing::HasSubstr;
using testing::read_text;
using testing::same_bits;
using testing::ScratchFolder;
using testing::SftRun;
using testing::write_text;

// YES where the text ends with an A.
std::string labelled(int count, int first = 0) {
  std::string text;
  for (int i = first; i < first + count; ++i) {
    const std::string body(1 + i % 4, static_cast<char>('K' + i % 12));
    const bool yes = i % 3 == 0;
    text += "{\"text\": \"" + body + (yes ? "A" : "B") + "\", \"label\": \"" +
            (yes ? "YES" : "NO") + "\"}\n";
  }
  return text;
}

class ClassificationTrainerTest : public ::testing::Test {
 protected:
  ClassificationTrainerTest() {
    testing::make_model(folder_ / "model");
    write_text(folder_ / "train.jsonl", labelled(24));
    write_text(folder_ / "eval.jsonl", labelled(9, 40));
    setup.model.path = (folder_ / "model").string();
    setup.lora.r = 4;
    setup.lora.target_modules = "all-linear";
    setup.data.train = folder_ / "train.jsonl";
    setup.data.eval = folder_ / "eval.jsonl";
    setup.classification.per_device_train_batch_size = 3;
    setup.classification.gradient_accumulation_steps = 2;
    setup.classification.learning_rate = 5e-3;
    setup.run.save_steps = 2;
  }
  SftRun run(const std::string& name, int64_t last_step = -1) const {
    return testing::run_with<ClassificationTrainer>(setup, folder_ / name, last_step);
  }
  std::string file(const std::string& name) const { return read_text(folder_ / name); }

  ScratchFolder folder_;
  ClassificationSetup setup;
};

TEST_F(ClassificationTrainerTest, LearnsToTellClassesApart) {
  setup.classification.eval_on_start = true;
  setup.classification.eval_strategy = EvalStrategy::epoch;
  setup.classification.num_train_epochs = 8;
  const std::string weights = file("model/model.safetensors");
  const SftRun trained = run("run");
  const size_t last = trained.rows.size() - 1;
  EXPECT_EQ(trained.rows.front().step, 0);
  EXPECT_EQ(trained.metric(last, "eval/accuracy"), 1.0);
  EXPECT_EQ(trained.metric(last, "eval/macro_f1"), 1.0);
  EXPECT_LT(trained.metric(last, "eval/accuracy_low"), 1.0);
  EXPECT_GT(trained.metric(0, "eval/loss"), 2 * trained.metric(last, "eval/loss"));
  EXPECT_THAT(trained.outcome.comparison, HasSubstr("macro F1"));
  EXPECT_EQ(file("model/model.safetensors"), weights);
  EXPECT_EQ(read_class_labels(folder_ / "run/adapter"), (ClassNames{"NO", "YES"}));
  EXPECT_EQ(read_adapter_config(folder_ / "run/adapter").task_type, TaskType::SEQ_CLS);
}

TEST_F(ClassificationTrainerTest, ResumingIsBitIdentical) {
  setup.lora.lora_dropout = 0.2;
  setup.lora.trainable = {"model.layers.1.mlp.up_proj", "model.norm"};
  setup.classification.label_smoothing_factor = 0.1;
  setup.classification.lr_scheduler_type = SchedulerType::cosine;
  setup.classification.eval_strategy = EvalStrategy::steps;
  setup.classification.eval_steps = 3;
  setup.classification.max_steps = 8;
  setup.classification.eval_answers = 2;
  const SftRun whole = run("whole");
  EXPECT_EQ(run("parts", 3).outcome.end, RunEnd::interrupted);
  EXPECT_EQ(run("parts", 5).outcome.step, 5);
  const SftRun parts = run("parts");
  EXPECT_EQ(parts.outcome.end, RunEnd::finished);
  EXPECT_EQ(parts.outcome.comparison, whole.outcome.comparison);
  for (const char* name :
       {"adapter/adapter_model.safetensors", "adapter/labels.json", "samples.jsonl",
        "evaluations/step-8.json", "snapshots/step-8/optimizer.safetensors"}) {
    EXPECT_EQ(file(std::string("parts/") + name), file(std::string("whole/") + name)) << name;
  }
  EXPECT_THAT(file("whole/samples.jsonl"), HasSubstr("\"decoding\":\"is NO\""));
  ASSERT_EQ(parts.rows.size(), 8u);
  for (size_t i = 0; i < 8; ++i) {
    for (size_t m = 0; m < parts.rows[i].metrics.size(); ++m) {
      if (whole.rows[i].metrics[m].first.starts_with("perf/")) continue;
      EXPECT_EQ(parts.rows[i].metrics[m], whole.rows[i].metrics[m]) << i;
    }
  }
}

TEST_F(ClassificationTrainerTest, OnlyTheTopLayersMoveWithoutUpdates) {
  setup.lora = {.target_modules = std::vector<std::string>{},
                .task_type = TaskType::SEQ_CLS,
                .trainable = {"model.layers.1", "model.norm"}};
  setup.classification.max_steps = 20;
  setup.classification.eval_strategy = EvalStrategy::steps;
  setup.classification.eval_steps = 20;
  const SftRun trained = run("run");
  EXPECT_GE(trained.metric(trained.rows.size() - 1, "eval/accuracy"), 8.0 / 9);
  setup.lora = {.path = folder_ / "run/adapter"};
  const Classifier again = load_classifier(setup);
  for (const auto& [name, tensor] : again.model.adapter.named_tensors()) {
    EXPECT_THAT(name, ::testing::AnyOf(HasSubstr(".layers.1."), HasSubstr("model.norm"),
                                       HasSubstr("score")));
  }
}

TEST_F(ClassificationTrainerTest, GoesOnFromAnAdapterOfTheSameClasses) {
  setup.classification.max_steps = 2;
  run("first");
  setup.lora = {.path = folder_ / "first/adapter"};
  const Classifier again = load_classifier(setup);
  const Adapter saved = load_score_adapter(folder_ / "first/adapter", *again.model.decoder, 2);
  for (size_t i = 0; i < saved.named_tensors().size(); ++i) {
    EXPECT_TRUE(same_bits(again.model.adapter.named_tensors()[i].second.detach(),
                          saved.named_tensors()[i].second));
  }
  setup.data.labels = {"YES", "NO"};
  try {
    load_classifier(setup);
    FAIL() << "no error";
  } catch (const FormatError& error) {
    EXPECT_THAT(error.what(),
                HasSubstr("its classes are NO, YES; those of this recipe are YES, NO"));
  }
}

TEST_F(ClassificationTrainerTest, TokensOutsideTheVocabularyAreNamedWithTheirLine) {
  write_text(folder_ / "train.jsonl", labelled(3) + "{\"text\": \"small\", \"label\": \"NO\"}\n");
  try {
    load_classifier(setup);
    FAIL() << "no error";
  } catch (const FormatError& error) {
    EXPECT_THAT(error.what(), HasSubstr("train.jsonl:4: token 0 is 118"));
  }
}

}  // namespace
}  // namespace leash

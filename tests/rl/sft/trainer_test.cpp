// Whole supervised runs: exact resume, the best model, early stopping, numbers that are not finite.
#include "rl/sft/trainer.h"

#include <gmock/gmock.h>

#include "models/errors.h"
#include "tests/rl/sft/run.h"

namespace leash {
namespace {

using ::testing::HasSubstr;
using testing::read_text;
using testing::run_sft;
using testing::ScratchFolder;
using testing::SftRun;
using testing::write_text;

class SftTrainerTest : public ::testing::Test {
 protected:
  SftTrainerTest() {
    testing::make_model(folder_ / "model");
    std::string text;
    for (int i = 0; i < 20; ++i) {
      text += "{\"prompt\": \"SAY " + std::to_string(i * 7) + ":\", \"completion\": \"" +
              std::string(1 + i % 6, static_cast<char>('A' + i)) + "\"}\n";
    }
    write_text(folder_ / "train.jsonl", text);
    write_text(folder_ / "eval.jsonl",
               "{\"prompt\": \"SAY 1:\", \"completion\": \"AB\"}\n{\"text\": \"NO 77\"}\n");
    setup.model.path = (folder_ / "model").string();
    setup.lora.r = 4;
    setup.lora.target_modules = "all-linear";
    setup.data.train = folder_ / "train.jsonl";
    setup.sft.per_device_train_batch_size = 2;
    setup.sft.gradient_accumulation_steps = 3;
    setup.sft.learning_rate = 5e-3;
    setup.run.save_steps = 2;
  }
  std::string adapter(const std::string& run) const {
    return read_text(folder_ / run / "adapter" / "adapter_model.safetensors");
  }
  ScratchFolder folder_;
  SftSetup setup;
};

TEST_F(SftTrainerTest, ResumingIsBitIdentical) {
  setup.lora.lora_dropout = 0.2;
  setup.sft.neftune_noise_alpha = 5.0;
  setup.sft.lr_scheduler_type = SchedulerType::cosine;
  setup.sft.eval_strategy = EvalStrategy::steps;
  setup.sft.eval_steps = 3;
  setup.sft.max_steps = 8;
  setup.sft.eval_answers = 2;
  setup.sft.group_by_length = true;
  setup.data.eval = folder_ / "eval.jsonl";
  const SftRun whole = run_sft(setup, folder_ / "whole");
  EXPECT_EQ(whole.outcome.end, RunEnd::finished);
  const SftRun begun = run_sft(setup, folder_ / "parts", 3);
  EXPECT_EQ(begun.outcome.end, RunEnd::interrupted);
  EXPECT_EQ(begun.outcome.step, 3);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "parts" / "adapter"));
  const SftRun again = run_sft(setup, folder_ / "parts", 5);
  EXPECT_EQ(again.outcome.step, 5);
  const SftRun parts = run_sft(setup, folder_ / "parts");
  EXPECT_EQ(parts.outcome.end, RunEnd::finished);
  EXPECT_EQ(parts.outcome.best_step, whole.outcome.best_step);
  EXPECT_EQ(adapter("parts"), adapter("whole"));
  const std::string samples = read_text(folder_ / "whole" / "samples.jsonl");
  EXPECT_THAT(samples, HasSubstr("\"prompt\":\"SAY 1:\""));
  EXPECT_EQ(read_text(folder_ / "parts" / "samples.jsonl"), samples);
  ASSERT_EQ(parts.rows.size(), 8u);
  for (size_t i = 0; i < 8; ++i) {
    ASSERT_EQ(parts.rows[i].metrics.size(), whole.rows[i].metrics.size());
    for (size_t m = 0; m < parts.rows[i].metrics.size(); ++m) {
      const auto& [name, value] = whole.rows[i].metrics[m];
      if (name.starts_with("perf/")) continue;
      EXPECT_EQ(parts.rows[i].metrics[m], whole.rows[i].metrics[m]) << i << " " << name << value;
    }
  }
}

TEST_F(SftTrainerTest, PackedRunsTrainOnEverySampleOncePerEpoch) {
  setup.data.packing = true;
  setup.data.max_length = 40;
  setup.sft.per_device_train_batch_size = 1;
  setup.sft.gradient_accumulation_steps = 1;
  setup.sft.num_train_epochs = 1;
  const SftRun run = run_sft(setup, folder_ / "packed");
  double tokens = 0;
  for (size_t i = 0; i < run.rows.size(); ++i) tokens += run.metric(i, "trained_tokens");
  EXPECT_LT(run.rows.size(), 20u);
  // 20 completions of 1 + i % 6 letters, each with EOS.
  EXPECT_EQ(tokens, 20 + 3 * (1 + 2 + 3 + 4 + 5 + 6) + 1 + 2);
  EXPECT_EQ(run.metric(run.rows.size() - 1, "epoch"), 1.0);
}

TEST_F(SftTrainerTest, EpochsCountAsTransformersCountsThem) {
  setup.sft.num_train_epochs = 1.5;  // 20 samples: 4 steps of 6, 6, 6 and 2
  const SftRun run = run_sft(setup, folder_ / "run");
  ASSERT_EQ(run.rows.size(), 6u);  // ceil(1.5 * 4)
  EXPECT_DOUBLE_EQ(run.metric(0, "epoch"), 0.3);
  EXPECT_DOUBLE_EQ(run.metric(2, "epoch"), 0.9);
  EXPECT_DOUBLE_EQ(run.metric(3, "epoch"), 1.0);
  EXPECT_DOUBLE_EQ(run.metric(4, "epoch"), 1.3);
}

TEST_F(SftTrainerTest, TheBestModelIsExportedAndPatienceEndsTheRun) {
  setup.sft.learning_rate = 0.5;  // far too much: the held-out loss rises after some step
  setup.sft.max_grad_norm = 0;
  setup.sft.max_steps = 30;
  setup.sft.eval_strategy = EvalStrategy::steps;
  setup.sft.load_best_model_at_end = true;
  setup.sft.early_stopping_patience = 3;
  setup.data.eval = folder_ / "eval.jsonl";
  setup.run.save_total_limit = 1;
  const SftRun run = run_sft(setup, folder_ / "run");
  EXPECT_EQ(run.outcome.end, RunEnd::finished);
  ASSERT_TRUE(run.outcome.best_step);
  const int64_t best = *run.outcome.best_step;
  EXPECT_EQ(run.outcome.step, best + 3);
  EXPECT_LT(run.outcome.step, 30);
  for (const MetricsRow& row : run.rows) {
    EXPECT_GE(run.metric(static_cast<size_t>(row.step) - 1, "eval/loss"),
              run.metric(static_cast<size_t>(best) - 1, "eval/loss"));
  }
  EXPECT_EQ(adapter("run"),
            read_text(folder_ / "run" / "snapshots" / ("step-" + std::to_string(best)) /
                      "adapter_model.safetensors"));
  EXPECT_THAT(run.outcome.comparison, HasSubstr("best"));
  // Resuming a run that stopped does nothing more.
  EXPECT_EQ(run_sft(setup, folder_ / "run").outcome.step, best + 3);
  // It would miss its best snapshot only at its end.
  const auto snapshot = folder_ / "run" / "snapshots" / ("step-" + std::to_string(best));
  write_text(snapshot / "optimizer.safetensors", "cut short");
  try {
    run_sft(setup, folder_ / "run");
    FAIL() << "no error";
  } catch (const FormatError& error) {
    EXPECT_THAT(error.what(), HasSubstr(snapshot.string() + ": optimizer.safetensors has 9 bytes"));
  }
  setup.sft.load_best_model_at_end = false;  // then nothing needs it
  EXPECT_EQ(run_sft(setup, folder_ / "run").outcome.step, best + 3);
}

TEST_F(SftTrainerTest, GoesOnFromAnAdapter) {
  setup.data.shuffle = false;
  setup.sft.gradient_accumulation_steps = 10;  // every step is the whole file
  setup.sft.max_steps = 3;
  setup.sft.lr_scheduler_type = SchedulerType::constant;
  const SftRun straight = run_sft(setup, folder_ / "straight");
  setup.sft.max_steps = 2;
  run_sft(setup, folder_ / "first");
  setup.lora = {.path = folder_ / "first" / "adapter"};
  const SftRun second = run_sft(setup, folder_ / "second");
  // The loss of the third step, before which nothing but the adapter counts.
  EXPECT_EQ(second.metric(0, "loss"), straight.metric(2, "loss"));
  EXPECT_THAT(read_text(folder_ / "second" / "adapter" / "adapter_config.json"),
              HasSubstr("\"r\": 4"));
}

TEST_F(SftTrainerTest, ALossThatIsNotFiniteStopsTheRun) {
  setup.sft.learning_rate = 1e30;
  setup.sft.max_grad_norm = 0;
  setup.sft.max_steps = 9;
  setup.run.save_steps = 1;
  try {
    run_sft(setup, folder_ / "run");
    FAIL() << "no error";
  } catch (const NonFinite& error) {
    EXPECT_THAT(error.what(), HasSubstr("the update was not applied"));
    EXPECT_THAT(error.what(), HasSubstr("there is no good snapshot: "));
  }
}

TEST_F(SftTrainerTest, TokensOutsideTheVocabularyAreNamedWithTheirLine) {
  write_text(folder_ / "train.jsonl", "{\"text\": \"FINE\"}\n{\"text\": \"small\"}\n");
  try {
    run_sft(setup, folder_ / "run");
    FAIL() << "no error";
  } catch (const FormatError& error) {
    EXPECT_THAT(error.what(), HasSubstr("train.jsonl:2: token 0 is 118"));
  }
}

TEST(SftSchedule, ReadsTransformersNames) {
  SftConfig config;
  config.learning_rate = 2e-4;
  config.lr_scheduler_type = SchedulerType::cosine_with_min_lr;
  config.lr_scheduler_kwargs = {{"min_lr", 2e-5}};
  EXPECT_DOUBLE_EQ(schedule_of(config, 10).min_lr_rate, 0.1);
  config.lr_scheduler_kwargs = {{"min_lr_ratio", 0.3}, {"num_decay_steps", 4}, {"num_cycles", 1.5}};
  EXPECT_EQ(schedule_of(config, 10).min_lr_rate, 0.3);
  EXPECT_EQ(schedule_of(config, 10).decay_steps, 4);
  EXPECT_EQ(schedule_of(config, 10).num_cycles, 1.5);
}

}  // namespace
}  // namespace leash

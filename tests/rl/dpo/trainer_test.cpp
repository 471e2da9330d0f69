// Whole runs of DPO: it learns, resumes exactly, keeps the reference's log-probs, and is held to
// where it started.
#include "rl/dpo/trainer.h"

#include <gmock/gmock.h>

#include "models/errors.h"
#include "models/lora/peft_adapter.h"
#include "rl/preference/kept_logprobs.h"
#include "tests/rl/dpo/run.h"

namespace leash {
namespace {

using ::testing::HasSubstr;
using testing::read_text;
using testing::run_dpo;
using testing::ScratchFolder;
using testing::SftRun;
using testing::write_text;

// Prefers answers that end with an A.
std::string pairs_of_answers(int count, int first = 0) {
  std::string text;
  for (int i = first; i < first + count; ++i) {
    const std::string other = std::string(1 + i % 4, static_cast<char>('K' + i % 12));
    text += "{\"prompt\": \"SAY " + std::to_string(i / 2) + ": \", \"chosen\": \"" + other +
            "A\", \"rejected\": \"" + other + "BCD\"}\n";
  }
  return text;
}

class DpoTrainerTest : public ::testing::Test {
 protected:
  DpoTrainerTest() {
    testing::make_model(folder_ / "model");
    write_text(folder_ / "train.jsonl", pairs_of_answers(20));
    write_text(folder_ / "eval.jsonl", pairs_of_answers(8, 40));
    setup.model.path = (folder_ / "model").string();
    setup.lora.r = 4;
    setup.lora.target_modules = "all-linear";
    setup.data.train = folder_ / "train.jsonl";
    setup.data.eval = folder_ / "eval.jsonl";
    setup.dpo.per_device_train_batch_size = 2;
    setup.dpo.gradient_accumulation_steps = 3;
    setup.dpo.learning_rate = 5e-3;
    setup.dpo.max_steps = 8;
    setup.run.save_steps = 2;
  }
  std::string adapter(const std::string& run) const {
    return read_text(folder_ / run / "adapter" / "adapter_model.safetensors");
  }
  static void expect_same_rows(const SftRun& a, const SftRun& b) {
    ASSERT_EQ(a.rows.size(), b.rows.size());
    for (size_t i = 0; i < a.rows.size(); ++i) {
      for (size_t m = 0; m < a.rows[i].metrics.size(); ++m) {
        if (a.rows[i].metrics[m].first.starts_with("perf/")) continue;
        EXPECT_EQ(a.rows[i].metrics[m], b.rows[i].metrics[m]) << i;
      }
    }
  }
  ScratchFolder folder_;
  DpoSetup setup;
};

TEST_F(DpoTrainerTest, LearnsWhatIsPreferredFromWhereTheReferenceIs) {
  setup.dpo.eval_on_start = true;
  setup.dpo.eval_strategy = EvalStrategy::epoch;
  setup.dpo.max_steps = -1;
  setup.dpo.num_train_epochs = 5;
  setup.dpo.eval_answers = 2;
  const SftRun run = run_dpo(setup, folder_ / "run");
  EXPECT_EQ(run.rows.front().step, 0);
  // A fresh adapter is the reference.
  EXPECT_NEAR(run.metric(0, "eval/exact_kl"), 0, 1e-5);
  EXPECT_NEAR(run.metric(0, "eval/loss"), std::log(2.0), 1e-5);
  EXPECT_NEAR(run.metric(0, "eval/rewards/margins"), 0, 1e-5);
  const size_t last = run.rows.size() - 1;
  EXPECT_EQ(run.metric(last, "eval/rewards/accuracies"), 1.0);
  EXPECT_GT(run.metric(last, "eval/rewards/margins_low"), 0);
  EXPECT_LT(run.metric(last, "eval/loss"), 0.5);
  EXPECT_GT(run.metric(last, "eval/exact_kl"), 0.1);
  EXPECT_THAT(run.outcome.comparison, HasSubstr("KL per answer"));
  const auto samples = read_samples(folder_ / "run/samples.jsonl");
  ASSERT_GE(samples.size(), 4u);
  EXPECT_NEAR(*samples.front().kl, 0, 1e-4);
  EXPECT_GT(*samples.back().kl, 0.1);
}

TEST_F(DpoTrainerTest, ResumingIsBitIdentical) {
  setup.lora.lora_dropout = 0.2;
  setup.dpo.disable_dropout = false;
  setup.dpo.precompute_ref_log_probs = true;
  setup.dpo.eval_strategy = EvalStrategy::steps;
  setup.dpo.eval_steps = 3;
  setup.dpo.eval_answers = 2;
  const SftRun whole = run_dpo(setup, folder_ / "whole");
  EXPECT_EQ(run_dpo(setup, folder_ / "parts", 3).outcome.end, RunEnd::interrupted);
  EXPECT_EQ(run_dpo(setup, folder_ / "parts", 5).outcome.step, 5);
  const SftRun parts = run_dpo(setup, folder_ / "parts");
  EXPECT_EQ(parts.outcome.end, RunEnd::finished);
  EXPECT_EQ(parts.outcome.comparison, whole.outcome.comparison);
  EXPECT_EQ(adapter("parts"), adapter("whole"));
  EXPECT_EQ(read_text(folder_ / "parts" / "samples.jsonl"),
            read_text(folder_ / "whole" / "samples.jsonl"));
  expect_same_rows(parts, whole);
}

TEST_F(DpoTrainerTest, KeptLogProbsGiveTheSameRunAndBelongToTheirData) {
  setup.dpo.micro_batch_tokens = 100000;  // one pass, there as in training
  setup.dpo.per_device_train_batch_size = 20;
  setup.dpo.gradient_accumulation_steps = 1;
  setup.dpo.max_steps = 3;
  setup.data.shuffle = false;
  const SftRun asked = run_dpo(setup, folder_ / "asked");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "asked" / kKeptLogprobsFile));
  setup.dpo.precompute_ref_log_probs = true;
  const SftRun kept = run_dpo(setup, folder_ / "kept");
  expect_same_rows(asked, kept);
  const auto file = folder_ / "kept" / kKeptLogprobsFile;
  const std::string bytes = read_text(file);

  // Read again where it belongs to the data, computed again where it does not.
  std::filesystem::remove_all(folder_ / "kept/snapshots");
  std::filesystem::remove(folder_ / "kept/metrics.jsonl");
  const auto written = std::filesystem::last_write_time(file);
  (void)run_dpo(setup, folder_ / "kept");
  EXPECT_EQ(std::filesystem::last_write_time(file), written);
  write_text(folder_ / "train.jsonl", pairs_of_answers(20, 2));
  std::filesystem::remove_all(folder_ / "kept/snapshots");
  std::filesystem::remove(folder_ / "kept/metrics.jsonl");
  (void)run_dpo(setup, folder_ / "kept");
  EXPECT_NE(read_text(file), bytes);
}

TEST_F(DpoTrainerTest, AnAdapterThatTrainsOnIsHeldToItself) {
  (void)run_dpo(setup, folder_ / "first");
  setup.lora = {.path = folder_ / "first/adapter"};
  setup.dpo.eval_on_start = true;
  const SftRun second = run_dpo(setup, folder_ / "second");
  EXPECT_NEAR(second.metric(0, "eval/exact_kl"), 0, 1e-5);
  setup.reference.kind = ReferenceKind::adapter_off;
  const SftRun third = run_dpo(setup, folder_ / "third");
  EXPECT_GT(third.metric(0, "eval/exact_kl"), 0.01);
  setup.reference = {.kind = ReferenceKind::model, .path = (folder_ / "model").string()};
  const SftRun fourth = run_dpo(setup, folder_ / "fourth");
  EXPECT_NEAR(fourth.metric(0, "eval/exact_kl"), third.metric(0, "eval/exact_kl"), 1e-5);
  EXPECT_NEAR(fourth.metric(3, "loss"), third.metric(3, "loss"), 1e-4);
}

TEST_F(DpoTrainerTest, AnotherReferenceIsAnotherRun) {
  (void)run_dpo(setup, folder_ / "first");
  setup.run.seed = 9;
  (void)run_dpo(setup, folder_ / "other");
  setup.reference = {.kind = ReferenceKind::adapter, .path = (folder_ / "first/adapter").string()};
  (void)run_dpo(setup, folder_ / "second", 3);
  const auto file = folder_ / "first/adapter/adapter_model.safetensors";
  write_text(file, read_text(folder_ / "other/adapter/adapter_model.safetensors"));
  try {
    (void)run_dpo(setup, folder_ / "second");
    FAIL() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("the snapshot belongs to another model: reference"));
  }
}

TEST_F(DpoTrainerTest, TiesCountHalfOrNotAtAll) {
  write_text(folder_ / "train.jsonl",
             pairs_of_answers(4) +
                 "{\"prompt\": \"P: \", \"chosen\": \"X\", \"rejected\": \"Y\", \"tie\": true}\n"
                 "{\"prompt\": \"P: \", \"chosen\": \"X\", \"rejected\": \"Z\", \"both_bad\": "
                 "true}\n");
  setup.dpo.per_device_train_batch_size = 5;
  setup.dpo.gradient_accumulation_steps = 1;
  setup.dpo.max_steps = 2;
  const SftRun dropped = run_dpo(setup, folder_ / "dropped");
  setup.data.ties = Ties::half;
  const SftRun half = run_dpo(setup, folder_ / "half");
  EXPECT_NEAR(half.metric(0, "num_tokens") - dropped.metric(0, "num_tokens"), 10, 1e-12);
  EXPECT_NEAR(half.metric(0, "rewards/accuracies"), dropped.metric(0, "rewards/accuracies"), 1e-12);
}

TEST_F(DpoTrainerTest, ALossThatIsNotFiniteStopsTheRun) {
  setup.dpo.learning_rate = 1e30;
  setup.dpo.max_grad_norm = 0;
  setup.run.save_steps = 1;
  EXPECT_THROW(run_dpo(setup, folder_ / "run"), NonFinite);
}

TEST_F(DpoTrainerTest, TokensOutsideTheVocabularyAreNamedWithTheirLine) {
  write_text(folder_ / "train.jsonl",
             pairs_of_answers(1) + "{\"chosen\": \"X\", \"rejected\": \"small\"}\n");
  try {
    run_dpo(setup, folder_ / "run");
    FAIL() << "no error";
  } catch (const FormatError& error) {
    EXPECT_THAT(error.what(), HasSubstr("train.jsonl:2: token 0 is 118"));
  }
}

}  // namespace
}  // namespace leash

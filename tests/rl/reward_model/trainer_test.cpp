// Whole runs of reward training: exact resume, the best model, where an adapter starts, and PPO's
// reward out of what was trained.
#include "rl/reward_model/trainer.h"

#include <gmock/gmock.h>

#include "models/decoder/score_head.h"
#include "models/errors.h"
#include "models/lora/peft_adapter.h"
#include "rl/reward/adapter.h"
#include "tests/rl/reward_model/run.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using ::testing::HasSubstr;
using testing::read_text;
using testing::run_reward;
using testing::same_bits;
using testing::ScratchFolder;
using testing::SftRun;
using testing::write_text;

// Prefers answers with an A.
std::string pairs(int count, int first = 0) {
  std::string text;
  for (int i = first; i < first + count; ++i) {
    const std::string other = std::string(1 + i % 4, static_cast<char>('K' + i % 12));
    text += "{\"prompt\": \"SAY " + std::to_string(i / 2) + ": \", \"chosen\": \"" + other +
            "A\", \"rejected\": \"" + other + "BCD\"}\n";
  }
  return text;
}

class RewardTrainerTest : public ::testing::Test {
 protected:
  RewardTrainerTest() {
    testing::make_model(folder_ / "model");
    write_text(folder_ / "train.jsonl", pairs(20));
    write_text(folder_ / "eval.jsonl", pairs(8, 40));
    setup.model.path = (folder_ / "model").string();
    setup.lora.r = 4;
    setup.lora.target_modules = "all-linear";
    setup.data.train = folder_ / "train.jsonl";
    setup.data.eval = folder_ / "eval.jsonl";
    setup.reward.per_device_train_batch_size = 2;
    setup.reward.gradient_accumulation_steps = 3;
    setup.reward.learning_rate = 5e-3;
    setup.run.save_steps = 2;
  }
  std::string adapter(const std::string& run) const {
    return read_text(folder_ / run / "adapter" / "adapter_model.safetensors");
  }
  ScratchFolder folder_;
  RewardSetup setup;
};

TEST_F(RewardTrainerTest, LearnsWhatIsPreferred) {
  setup.reward.eval_on_start = true;
  setup.reward.eval_strategy = EvalStrategy::epoch;
  setup.reward.num_train_epochs = 5;
  const SftRun run = run_reward(setup, folder_ / "run");
  EXPECT_EQ(run.rows.front().step, 0);
  const size_t last = run.rows.size() - 1;
  EXPECT_EQ(run.metric(last, "eval/accuracy"), 1.0);
  EXPECT_LT(run.metric(last, "eval/loss"), 0.3);
  EXPECT_GT(run.metric(0, "eval/loss"), 0.5);
  EXPECT_GT(run.metric(last, "eval/margin_low"), 0);
  EXPECT_THAT(run.outcome.comparison, HasSubstr("best"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "run/evaluations/step-0.json"));
}

TEST_F(RewardTrainerTest, ResumingIsBitIdentical) {
  setup.lora.lora_dropout = 0.2;
  setup.reward.disable_dropout = false;
  setup.reward.lr_scheduler_type = SchedulerType::cosine;
  setup.reward.eval_strategy = EvalStrategy::steps;
  setup.reward.eval_steps = 3;
  setup.reward.max_steps = 8;
  setup.reward.eval_answers = 2;
  const SftRun whole = run_reward(setup, folder_ / "whole");
  EXPECT_EQ(whole.outcome.end, RunEnd::finished);
  const SftRun begun = run_reward(setup, folder_ / "parts", 3);
  EXPECT_EQ(begun.outcome.end, RunEnd::interrupted);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "parts" / "adapter"));
  EXPECT_EQ(run_reward(setup, folder_ / "parts", 5).outcome.step, 5);
  const SftRun parts = run_reward(setup, folder_ / "parts");
  EXPECT_EQ(parts.outcome.end, RunEnd::finished);
  EXPECT_EQ(parts.outcome.best_step, whole.outcome.best_step);
  EXPECT_EQ(parts.outcome.comparison, whole.outcome.comparison);
  EXPECT_EQ(adapter("parts"), adapter("whole"));
  const std::string samples = read_text(folder_ / "whole" / "samples.jsonl");
  EXPECT_THAT(samples, HasSubstr("\"decoding\":\"rejected\""));
  EXPECT_EQ(read_text(folder_ / "parts" / "samples.jsonl"), samples);
  for (const char* file : {"evaluations/step-8.json", "snapshots/step-8/optimizer.safetensors"}) {
    EXPECT_EQ(read_text(folder_ / "parts" / file), read_text(folder_ / "whole" / file)) << file;
  }
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

TEST_F(RewardTrainerTest, TheBestModelIsExportedAndPatienceEndsTheRun) {
  setup.reward.learning_rate = 0.5;  // far too much
  setup.reward.max_grad_norm = 0;
  setup.reward.max_steps = 30;
  setup.reward.eval_strategy = EvalStrategy::steps;
  setup.reward.load_best_model_at_end = true;
  setup.reward.early_stopping_patience = 2;
  setup.run.save_total_limit = 1;
  const SftRun run = run_reward(setup, folder_ / "run");
  ASSERT_TRUE(run.outcome.best_step);
  const int64_t best = *run.outcome.best_step;
  EXPECT_EQ(run.outcome.step, best + 2);
  for (const MetricsRow& row : run.rows) {
    EXPECT_GE(run.metric(static_cast<size_t>(row.step) - 1, "eval/loss"),
              run.metric(static_cast<size_t>(best) - 1, "eval/loss"));
  }
  EXPECT_EQ(adapter("run"),
            read_text(folder_ / "run" / "snapshots" / ("step-" + std::to_string(best)) /
                      "adapter_model.safetensors"));
}

TEST_F(RewardTrainerTest, TheBaseIsLeftAloneAndTheAdapterHasAHead) {
  setup.reward.max_steps = 2;
  const std::string weights = read_text(folder_ / "model/model.safetensors");
  run_reward(setup, folder_ / "run");
  EXPECT_EQ(read_text(folder_ / "model/model.safetensors"), weights);
  const LoraConfig config = read_adapter_config(folder_ / "run/adapter");
  EXPECT_EQ(config.task_type, TaskType::SEQ_CLS);
  EXPECT_THAT(config.modules_to_save, ::testing::Contains("score"));
}

TEST_F(RewardTrainerTest, GoesOnFromAnAdapterAndGivesALanguageModelsOneAHead) {
  setup.reward.max_steps = 3;
  run_reward(setup, folder_ / "first");
  const LoraConfig fresh = setup.lora;
  setup.lora = {.path = folder_ / "first/adapter"};
  const TrainedModel again = load_reward_model(setup);
  EXPECT_FALSE(again.adapter.parameters().empty());
  const Adapter saved = load_score_adapter(folder_ / "first/adapter", *again.decoder);
  for (size_t i = 0; i < saved.named_tensors().size(); ++i) {
    EXPECT_TRUE(same_bits(again.adapter.named_tensors()[i].second.detach(),
                          saved.named_tensors()[i].second));
  }
  LoraConfig causal = fresh;
  causal.task_type = TaskType::CAUSAL_LM;
  const Adapter language = Adapter::create(causal, again.decoder->modules(), 9);
  save_adapter(folder_ / "language", language, "base");
  setup.lora.path = folder_ / "language";
  const TrainedModel warm = load_reward_model(setup);
  EXPECT_EQ(warm.adapter.parameters().size(), language.parameters().size() + 1);
  EXPECT_TRUE(same_bits(warm.adapter.parameters()[0].detach(), language.parameters()[0].detach()));
  run_reward(setup, folder_ / "second");
  EXPECT_EQ(read_adapter_config(folder_ / "second/adapter").task_type, TaskType::SEQ_CLS);
  EXPECT_THROW(load_score_adapter(folder_ / "language", *warm.decoder), FormatError);
}

TEST_F(RewardTrainerTest, PpoReadsTheTrainedAdapterOnTheSharedBase) {
  setup.reward.max_steps = 4;
  run_reward(setup, folder_ / "run");
  setup.lora = {.path = folder_ / "run/adapter"};
  const TrainedModel model = load_reward_model(setup);
  const PreferenceDataSets data = read_preferences_for(setup, model);
  const RewardEvaluation expected = evaluate_pairs(data.eval, setup, model, *single_communicator());
  std::vector<RewardSample> samples;
  for (const PreferencePair& pair : data.eval.pairs) {
    for (const auto& ids : {pair.chosen, pair.rejected}) {
      RewardSample sample{.prompt = "not read", .answer = "not read"};
      sample.prompt_ids.assign(ids.begin(), ids.begin() + pair.common);
      sample.token_ids.assign(ids.begin() + pair.common, ids.end());
      samples.push_back(std::move(sample));
    }
  }
  RewardConfig config;
  config.kind = RewardKind::adapter;
  config.path = (folder_ / "run/adapter").string();
  config.weight = 0.5;
  const long base_users = model.decoder.use_count();
  const auto reward = make_reward({config}, {.decoder = model.decoder, .micro_batch_tokens = 20});
  EXPECT_EQ(model.decoder.use_count(), base_users + 1);  // the same weights
  const std::vector<double> scores = reward->score(samples);
  ASSERT_EQ(scores.size(), 2 * expected.pairs.size());
  for (size_t i = 0; i < expected.pairs.size(); ++i) {
    EXPECT_NEAR(scores[2 * i], 0.5 * expected.pairs[i].chosen, 1e-5);
    EXPECT_NEAR(scores[2 * i + 1], 0.5 * expected.pairs[i].rejected, 1e-5);
  }
  config.kind = RewardKind::model;
  EXPECT_THROW(make_reward({config}, {.decoder = model.decoder}), FormatError);
  config.kind = RewardKind::adapter;
  config.path = (folder_ / "model").string();
  EXPECT_THROW(make_reward({config}, {.decoder = model.decoder}), FormatError);
  config.path.reset();
  EXPECT_THROW(make_reward({config}, {.decoder = model.decoder}), ConfigError);
}

TEST_F(RewardTrainerTest, ALossThatIsNotFiniteStopsTheRun) {
  setup.reward.learning_rate = 1e30;
  setup.reward.max_grad_norm = 0;
  setup.reward.max_steps = 9;
  setup.run.save_steps = 1;
  try {
    run_reward(setup, folder_ / "run");
    FAIL() << "no error";
  } catch (const NonFinite& error) {
    EXPECT_THAT(error.what(), HasSubstr("the update was not applied"));
    EXPECT_THAT(error.what(), HasSubstr("there is no good snapshot: "));
  }
}

TEST_F(RewardTrainerTest, TokensOutsideTheVocabularyAreNamedWithTheirLine) {
  write_text(folder_ / "train.jsonl", pairs(1) + "{\"chosen\": \"X\", \"rejected\": \"small\"}\n");
  try {
    run_reward(setup, folder_ / "run");
    FAIL() << "no error";
  } catch (const FormatError& error) {
    EXPECT_THAT(error.what(), HasSubstr("train.jsonl:2: token 0 is 118"));
  }
}

}  // namespace
}  // namespace leash

// Eight steps of TRL's RewardTrainer with PEFT against ours, and scores of its adapter
// (tests/golden/make_reward.py).
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "models/decoder/score_head.h"
#include "models/io/safetensors.h"
#include "models/lora/peft_adapter.h"
#include "tests/rl/json_tensors.h"
#include "tests/rl/reward_model/run.h"

namespace leash {
namespace {

using testing::read_text;
using testing::repository;
using testing::ScratchFolder;

RewardSetup golden_setup(const ScratchFolder& folder) {
  testing::make_model(folder / "model");
  RewardSetup setup;
  setup.model.path = (folder / "model").string();
  setup.data.train = repository("tests/golden/reward/train.jsonl");
  setup.data.shuffle = false;
  return setup;
}

TEST(GoldenReward, EightStepsOfRewardTrainerAndPeft) {
  const nlohmann::json golden = testing::read_golden("reward/log.json");
  const auto& settings = golden["settings"];
  const ScratchFolder folder;
  RewardSetup setup = golden_setup(folder);
  setup.lora.path = repository("tests/golden/reward/start");
  setup.reward.per_device_train_batch_size = settings["per_device_train_batch_size"];
  setup.reward.gradient_accumulation_steps = settings["gradient_accumulation_steps"];
  setup.reward.max_steps = settings["max_steps"];
  setup.reward.learning_rate = settings["learning_rate"];
  setup.reward.lr_scheduler_type = SchedulerType::cosine;
  setup.reward.warmup_ratio = settings["warmup_ratio"];
  setup.reward.weight_decay = settings["weight_decay"];
  setup.reward.adam_beta2 = settings["adam_beta2"];
  setup.reward.max_grad_norm = settings["max_grad_norm"];
  setup.reward.center_rewards_coefficient = settings["center_rewards_coefficient"];
  setup.reward.micro_batch_tokens = 100;  // several passes a step
  const testing::SftRun run = testing::run_reward(setup, folder / "run");

  ASSERT_EQ(run.rows.size(), 8u);
  int clipped = 0;
  for (size_t i = 0; i < 8; ++i) {
    const auto& expected = golden["steps"][i];
    for (const char* name : {"loss", "grad_norm"}) {
      const double value = expected[name];
      EXPECT_NEAR(run.metric(i, name), value, 1e-4 * value) << name << " of step " << i + 1;
    }
    for (const char* name : {"margin", "mean_reward"}) {
      EXPECT_NEAR(run.metric(i, name), expected[name].get<double>(), 1e-4) << name;
    }
    for (const char* name : {"learning_rate", "epoch", "accuracy", "num_tokens"}) {
      EXPECT_NEAR(run.metric(i, name), expected[name].get<double>(), 1e-12) << name;
    }
    clipped += run.metric(i, "grad_norm") > setup.reward.max_grad_norm ? 1 : 0;
  }
  EXPECT_GT(clipped, 0);
  EXPECT_LT(clipped, 8);

  double distance = 0, size = 0, moved = 0;
  const auto ours = read_safetensors(folder / "run" / "adapter" / "adapter_model.safetensors");
  std::map<std::string, at::Tensor> actual(ours.begin(), ours.end());
  const auto begin =
      read_safetensors(repository("tests/golden/reward/start/adapter_model.safetensors"));
  std::map<std::string, at::Tensor> start(begin.begin(), begin.end());
  const auto final =
      read_safetensors(repository("tests/golden/reward/final/adapter_model.safetensors"));
  EXPECT_EQ(actual.size(), final.size());
  EXPECT_TRUE(actual.contains("base_model.model.score.weight"));
  for (const auto& [name, expected] : final) {
    ASSERT_TRUE(actual.contains(name)) << name;
    const auto squares = [](const at::Tensor& x) { return x.square().sum().item<double>(); };
    distance += squares(actual[name].sub(expected));
    moved += squares(start[name].sub(expected));
    size += squares(expected);
  }
  EXPECT_LT(std::sqrt(distance / size), 1e-4);
  EXPECT_GT(std::sqrt(moved / size), 1e-2);  // there was something to learn
}

TEST(GoldenReward, PeftsAdapterScoresAsTransformersScoresIt) {
  const nlohmann::json golden = testing::read_golden("reward/log.json");
  const ScratchFolder folder;
  RewardSetup setup = golden_setup(folder);
  const auto path = repository("tests/golden/reward/final");
  setup.lora.path = path;
  const TrainedModel model = load_reward_model(setup);
  const PreferenceDataSets data = read_preferences_for(setup, model);
  const RewardEvaluation evaluation =
      evaluate_pairs(data.train, setup, model, *single_communicator());
  ASSERT_EQ(evaluation.pairs.size(), golden["scores"].size());
  for (size_t i = 0; i < evaluation.pairs.size(); ++i) {
    EXPECT_NEAR(evaluation.pairs[i].chosen, golden["scores"][i][0].get<double>(), 1e-5) << i;
    EXPECT_NEAR(evaluation.pairs[i].rejected, golden["scores"][i][1].get<double>(), 1e-5) << i;
  }
  // Written again it is PEFT's, byte for byte.
  save_adapter(folder / "again", load_score_adapter(path, *model.decoder), "tiny_llama");
  for (const char* file : {"adapter_config.json", "adapter_model.safetensors"}) {
    EXPECT_EQ(read_text(folder / "again" / file), read_text(path / file)) << file;
  }
}

}  // namespace
}  // namespace leash

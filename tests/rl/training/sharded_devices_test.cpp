// run.fsdp: full_shard on a device that is not the CPU (a pretend one), two real processes over
// Gloo: the bits of whole weights there, and nearly the CPU's numbers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "models/weights/gather_queue.h"
#include "rl/ppo/critic.h"
#include "rl/ppo/trainer.h"
#include "rl/run/shared_folder.h"
#include "tests/rl/sft/run.h"
#include "tests/support/pretend_device.h"
#include "tests/support/rank_parts.h"
#include "tests/support/tiny_folder.h"

namespace leash {
namespace {

using testing::part_command;
using testing::Ranks;
using testing::read_text;
using testing::ScratchFolder;
using testing::write_text;

const char* const kFolder = "LEASH_TEST_FOLDER";
const char* const kHow = "LEASH_TEST_HOW";

// Inside a part: the run that the environment asks for. "whole" weights, sharded ones of which a
// phase of sampling holds all or gathers some for every token, and the same on the CPU.
template <class Trainer, class Setup>
void run_rank(Setup setup) {
  const std::string how = std::getenv(kHow);
  if (how != "cpu") setup.devices.policy = "pretend";
  if (how != "whole") setup.run.fsdp = Fsdp::full_shard;
  setup.run.gather_for_generation = how != "token";
  Console silent(-1, false);
  const auto communicator = testing::connect();
  const std::filesystem::path folder = std::getenv(kFolder);
  RunFolder run = open_run_folder(*communicator, folder / how, /*resume=*/false);
  {
    Trainer trainer(setup, {run, *communicator, silent});
    EXPECT_EQ(trainer.train([] { return false; }).end, RunEnd::finished);
  }
  if (how != "whole") {
    EXPECT_GT(communicator->gathers()->counts().bytes, 0);
    EXPECT_EQ(communicator->gathers()->held_bytes(), 0);
  }
  communicator->barrier();
}

TEST(RankPart, DISABLED_PpoOnADevice) {
  (void)testing::pretend_device();
  const std::filesystem::path folder = std::getenv(kFolder);
  PpoSetup setup;
  setup.model.path = (folder / "model").string();
  setup.lora.r = 4;
  setup.lora.target_modules = "all-linear";
  setup.data.train = folder / "prompts.jsonl";
  setup.critic.kind = CriticKind::adapter;
  setup.reward = {{.kind = RewardKind::model, .path = (folder / "reward").string()}};
  setup.rollout.response_length = 6;
  setup.rollout.max_batch = 2;
  setup.ppo.batch_size = 5;
  setup.ppo.num_mini_batches = 1;
  setup.ppo.num_ppo_epochs = 2;
  setup.ppo.total_episodes = 10;
  setup.ppo.learning_rate = 1e-3;
  run_rank<PpoTrainer>(setup);
}

TEST(RankPart, DISABLED_SftOnADevice) {
  (void)testing::pretend_device();
  const std::filesystem::path folder = std::getenv(kFolder);
  SftSetup setup;
  setup.model.path = (folder / "model").string();
  setup.model.gradient_checkpointing = true;
  setup.lora.r = 4;
  setup.lora.target_modules = "all-linear";
  setup.data.train = folder / "train.jsonl";
  setup.data.eval = folder / "train.jsonl";
  setup.sft.per_device_train_batch_size = 3;
  setup.sft.max_steps = 3;
  setup.sft.learning_rate = 1e-3;
  setup.sft.micro_batch_tokens = 24;
  setup.sft.eval_strategy = EvalStrategy::steps;
  setup.sft.eval_steps = 2;
  setup.sft.eval_answers = 1;
  run_rank<SftTrainer>(setup);
}

class ShardedDevices : public ::testing::Test {
 protected:
  void run_ranks(const std::string& part, const std::string& how) {
    SCOPED_TRACE(how);
    std::filesystem::create_directories(folder_ / how);
    testing::expect_all_pass(
        Ranks(part_command(part), 2,
              {.environment = {{kFolder, folder_.path().string()}, {kHow, how}},
               .timeout_seconds = 300}));
  }

  std::filesystem::path adapter(const std::string& how) const {
    return folder_ / how / "adapter" / "adapter_model.safetensors";
  }

  // All but clocks, memory and what was gathered.
  void expect_same_bits(const std::string& a, const std::string& b) const {
    SCOPED_TRACE(b);
    const auto left = read_metrics(folder_ / a / "metrics.jsonl");
    const auto right = read_metrics(folder_ / b / "metrics.jsonl");
    ASSERT_EQ(left.size(), right.size());
    ASSERT_FALSE(left.empty());
    for (size_t row = 0; row < left.size(); ++row) {
      EXPECT_EQ(steady(left[row].metrics), steady(right[row].metrics));
    }
    EXPECT_TRUE(read_text(adapter(a)) == read_text(adapter(b)));
  }

  void expect_sharded_runs_equal(const std::string& part) {
    for (const char* how : {"whole", "all", "token", "cpu"}) run_ranks(part, how);
    expect_same_bits("whole", "all");
    expect_same_bits("whole", "token");
    EXPECT_LT(testing::adapter_distance(adapter("all"), adapter("cpu")), 1e-2);
  }

  ScratchFolder folder_;

 private:
  static Metrics steady(const Metrics& metrics) {
    Metrics kept;
    for (const auto& metric : metrics) {
      if (!metric.first.starts_with("perf/")) kept.push_back(metric);
    }
    return kept;
  }
};

TEST_F(ShardedDevices, PpoGivesTheBitsOfWholeWeights) {
  testing::write_tiny_folder(folder_ / "model");
  testing::TinyOptions reward = testing::tiny_byte_options();
  reward.num_labels = 1;
  reward.seed = 21;
  testing::write_tiny_folder(folder_ / "reward", reward);
  std::string prompts;
  for (int i = 0; i < 6; ++i) {
    prompts += "{\"prompt\": \"" + std::string(2 + i, static_cast<char>('a' + i)) + "\"}\n";
  }
  write_text(folder_ / "prompts.jsonl", prompts);
  expect_sharded_runs_equal("DISABLED_PpoOnADevice");
}

TEST_F(ShardedDevices, SupervisedTrainingGivesTheBitsOfWholeWeights) {
  testing::make_model(folder_ / "model");
  std::string text;
  for (int i = 0; i < 9; ++i) {
    text += "{\"prompt\": \"SAY " + std::to_string(i * 7) + ":\", \"completion\": \"" +
            std::string(1 + i % 6, static_cast<char>('A' + i)) + "\"}\n";
  }
  write_text(folder_ / "train.jsonl", text);
  expect_sharded_runs_equal("DISABLED_SftOnADevice");
}

}  // namespace
}  // namespace leash

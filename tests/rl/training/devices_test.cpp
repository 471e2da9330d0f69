// Training on a device that is not the CPU (a pretend one): numbers are the CPU's, wherever the
// roles are. tests/tasks asks it of every task.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/device/out_of_memory.h"
#include "models/errors.h"
#include "rl/ppo/critic.h"
#include "rl/ppo/trainer.h"
#include "tests/rl/sft/run.h"
#include "tests/support/pretend_device.h"
#include "tests/support/tiny_folder.h"

namespace leash {
namespace {

using ::testing::HasSubstr;
using testing::pretend_device;
using testing::read_text;
using testing::ScratchFolder;
using testing::SftRun;
using testing::write_text;

// Metrics of two runs, but for clocks and memory.
void expect_equal_runs(const SftRun& a, const SftRun& b, double tolerance) {
  ASSERT_EQ(a.rows.size(), b.rows.size());
  ASSERT_FALSE(a.rows.empty());
  for (size_t row = 0; row < a.rows.size(); ++row) {
    ASSERT_EQ(a.rows[row].metrics.size(), b.rows[row].metrics.size());
    for (size_t i = 0; i < a.rows[row].metrics.size(); ++i) {
      const auto& [name, value] = a.rows[row].metrics[i];
      EXPECT_EQ(name, b.rows[row].metrics[i].first);
      if (name.starts_with("perf/")) continue;
      EXPECT_NEAR(b.rows[row].metrics[i].second, value, tolerance * std::max(1.0, std::abs(value)))
          << name << " in row " << row;
    }
  }
}

double distance(const ScratchFolder& folder, const std::string& a, const std::string& b) {
  return testing::adapter_distance(folder / a / "adapter" / "adapter_model.safetensors",
                                   folder / b / "adapter" / "adapter_model.safetensors");
}

class Devices : public ::testing::Test {
 protected:
  Devices() { (void)pretend_device(); }

  template <class Setup>
  void make_supervised(Setup& setup) {
    if (!std::filesystem::exists(folder_ / "model")) testing::make_model(folder_ / "model");
    setup.model.path = (folder_ / "model").string();
    setup.lora.r = 4;
    setup.lora.target_modules = "all-linear";
    setup.data.train = folder_ / "train.jsonl";
    setup.run.save_steps = 2;
  }

  ScratchFolder folder_;
};

TEST_F(Devices, SupervisedTraining) {
  std::string text;
  for (int i = 0; i < 12; ++i) {
    text += "{\"prompt\": \"SAY " + std::to_string(i * 7) + ":\", \"completion\": \"" +
            std::string(1 + i % 6, static_cast<char>('A' + i)) + "\"}\n";
  }
  write_text(folder_ / "train.jsonl", text);
  for (const OptimizerKind optim :
       {OptimizerKind::adamw_torch, OptimizerKind::paged_adamw_8bit, OptimizerKind::adafactor}) {
    SCOPED_TRACE(std::string(enum_name(optim)));
    const std::string name(enum_name(optim));
    SftSetup setup;
    make_supervised(setup);
    setup.lora.lora_dropout = 0.1;
    setup.data.eval = folder_ / "train.jsonl";
    setup.sft.optim = optim;
    setup.sft.per_device_train_batch_size = 4;
    setup.sft.max_steps = 4;
    setup.sft.learning_rate = 1e-3;
    setup.sft.neftune_noise_alpha = 5.0;
    setup.sft.eval_strategy = EvalStrategy::steps;
    setup.sft.eval_steps = 2;
    setup.sft.eval_answers = 1;
    const SftRun here = testing::run_sft(setup, folder_ / (name + "-here"));
    setup.devices.policy = "pretend";
    // In two parts: a snapshot is read back to where its tensors were.
    (void)testing::run_sft(setup, folder_ / (name + "-there"), 2);
    const SftRun there = testing::run_sft(setup, folder_ / (name + "-there"));
    EXPECT_EQ(there.outcome.end, RunEnd::finished);
    expect_equal_runs(here, there, 2e-4);
    EXPECT_LT(distance(folder_, name + "-there", name + "-here"), 1e-3);
  }
}

class PpoDevices : public Devices {
 protected:
  PpoDevices() {
    testing::write_tiny_folder(folder_ / "model");
    std::string prompts;
    for (int i = 0; i < 6; ++i) {
      prompts += "{\"prompt\": \"" + std::string(2 + i, static_cast<char>('a' + i)) + "\"}\n";
    }
    write_text(folder_ / "prompts.jsonl", prompts);
    setup.model.path = (folder_ / "model").string();
    setup.lora.r = 4;
    setup.lora.target_modules = "all-linear";
    setup.data.train = folder_ / "prompts.jsonl";
    setup.rollout.response_length = 8;
    setup.rollout.max_batch = 3;
    setup.ppo.batch_size = 4;
    setup.ppo.num_mini_batches = 2;
    setup.ppo.num_ppo_epochs = 2;
    setup.ppo.total_episodes = 8;
    setup.ppo.learning_rate = 1e-3;
    setup.ppo.kl_coef = 0.1;
    setup.run.save_steps = 1;
  }

  void reward_by_model() {
    testing::TinyOptions options = testing::tiny_byte_options();
    options.num_labels = 1;
    options.seed = 21;
    testing::write_tiny_folder(folder_ / "reward", options);
    setup.reward = {{.kind = RewardKind::model, .path = (folder_ / "reward").string()}};
  }

  SftRun run(const std::string& name) const {
    return testing::run_with<PpoTrainer>(setup, folder_ / name);
  }

  // The run as it is set up, on the CPU and on these devices.
  void expect_equal_on(const DevicesConfig& devices) {
    setup.devices = {};
    const SftRun here = run("here");
    setup.devices = devices;
    const SftRun there = run("there");
    EXPECT_EQ(there.outcome.end, RunEnd::finished);
    expect_equal_runs(here, there, 1e-3);
    EXPECT_LT(distance(folder_, "there", "here"), 1e-2);
  }

  PpoSetup setup;
};

TEST_F(PpoDevices, AllRolesThere) {
  reward_by_model();
  setup.critic.kind = CriticKind::shared;
  expect_equal_on({.policy = "pretend"});
}

TEST_F(PpoDevices, AlsoWithHeldOutPrompts) {
  reward_by_model();
  setup.data.eval = folder_ / "prompts.jsonl";
  setup.ppo.eval_samples = 1;
  expect_equal_on({.policy = "pretend", .reference = "cpu"});
}

TEST_F(PpoDevices, OnlyThePolicyThere) {
  reward_by_model();
  setup.critic.kind = CriticKind::adapter;
  expect_equal_on({.policy = "pretend", .reference = "cpu", .critic = "cpu", .reward = "cpu"});
}

TEST_F(PpoDevices, AllButThePolicyThere) {
  reward_by_model();
  setup.critic.kind = CriticKind::separate;
  expect_equal_on(
      {.policy = "cpu", .reference = "pretend", .critic = "pretend", .reward = "pretend"});
}

TEST_F(PpoDevices, AReferenceAdapterThere) {
  reward_by_model();
  testing::write_tiny_adapter(folder_ / "start", folder_ / "model");
  setup.lora = {.path = folder_ / "start"};
  expect_equal_on({.policy = "cpu", .reference = "pretend"});
}

TEST_F(PpoDevices, RolesAreWhereTheRecipeSays) {
  reward_by_model();
  setup.critic.kind = CriticKind::adapter;
  setup.devices = {.policy = "cpu", .reference = "pretend", .critic = "pretend"};
  const PolicyRoles roles = load_ppo_roles(setup);
  EXPECT_TRUE(roles.decoder->device().is_cpu());
  EXPECT_EQ(roles.reference.decoder->device(), pretend_device());
  EXPECT_EQ(roles.critic->decoder, roles.reference.decoder);  // one copy of the base
  for (const at::Tensor& parameter : roles.critic->parameters()) {
    EXPECT_EQ(parameter.device(), pretend_device());
    EXPECT_TRUE(parameter.is_leaf() && parameter.requires_grad());
  }
  for (const at::Tensor& parameter : roles.policy.parameters()) {
    EXPECT_TRUE(parameter.is_cpu());
  }
}

// Memory that suffices for the weights but not for an iteration.
TEST_F(PpoDevices, OutOfMemoryNamesHoldersAndSettings) {
  reward_by_model();
  setup.devices.policy = "pretend";
  const int64_t before = testing::pretend_memory();
  {
    const PolicyRoles roles = load_ppo_roles(setup);
    const PolicyOptimizers optimizers(setup.ppo, roles);
    testing::limit_pretend_memory(testing::pretend_memory() + 4096);
  }
  EXPECT_EQ(testing::pretend_memory(), before);
  try {
    (void)run("there");
    ADD_FAILURE();
  } catch (const OutOfMemory& error) {
    const std::string text = error.what();
    EXPECT_THAT(text, HasSubstr("out of memory while sampling: "));
    EXPECT_THAT(text, HasSubstr("bytes were asked for"));
    EXPECT_THAT(text,
                HasSubstr("in use on pretend:0: weights of policy and reference and critic "));
    EXPECT_THAT(text, HasSubstr("weights of reward model reward "));
    EXPECT_THAT(text, HasSubstr("the policy's adapter, gradients and moments "));
    EXPECT_THAT(text, HasSubstr("keys and values of sampling "));
    EXPECT_THAT(text, HasSubstr("lower rollout.max_batch (3), or rollout.response_length (8)"));
    EXPECT_THAT(text, HasSubstr("model.quantize: nf4"));
  }
  testing::limit_pretend_memory(0);
}

TEST_F(PpoDevices, ADeviceThatIsNot) {
  reward_by_model();
  setup.devices.policy = "gpu";
  try {
    (void)load_ppo_roles(setup);
    ADD_FAILURE();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("devices.policy: `gpu` is no device"));
  }
  setup.devices = {.policy = "cpu", .reward = "cuda:99"};
  EXPECT_THROW((void)load_ppo_roles(setup), ConfigError);
}

}  // namespace
}  // namespace leash

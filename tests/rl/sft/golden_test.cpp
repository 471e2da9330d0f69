// Ten steps of transformers.Trainer + PEFT against ours (tests/golden/make_sft.py).
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "models/io/safetensors.h"
#include "tests/rl/json_tensors.h"
#include "tests/rl/sft/run.h"

namespace leash {
namespace {

using testing::repository;
using testing::ScratchFolder;

// What tests/golden/make_sft.py told transformers.
SftSetup golden_setup(const std::filesystem::path& model) {
  const nlohmann::json settings = testing::read_golden("sft/log.json")["settings"];
  testing::make_model(model);
  SftSetup setup;
  setup.model.path = model.string();
  setup.lora.path = repository("tests/golden/sft/start");
  setup.data.train = repository("tests/golden/sft/train.jsonl");
  setup.data.shuffle = false;
  setup.sft.per_device_train_batch_size = settings["per_device_train_batch_size"];
  setup.sft.gradient_accumulation_steps = settings["gradient_accumulation_steps"];
  setup.sft.max_steps = settings["max_steps"];
  setup.sft.learning_rate = settings["learning_rate"];
  setup.sft.lr_scheduler_type = SchedulerType::cosine;
  setup.sft.warmup_ratio = settings["warmup_ratio"];
  setup.sft.weight_decay = settings["weight_decay"];
  setup.sft.adam_beta2 = settings["adam_beta2"];
  setup.sft.max_grad_norm = settings["max_grad_norm"];
  setup.sft.micro_batch_tokens = 100;  // several passes a step
  return setup;
}

void expect_steps(const testing::SftRun& run, const nlohmann::json& steps) {
  ASSERT_EQ(run.rows.size(), 10u);
  for (size_t i = 0; i < 10; ++i) {
    for (const char* name : {"loss", "grad_norm"}) {
      const double value = steps[i][name];
      EXPECT_NEAR(run.metric(i, name), value, 1e-4 * value) << name << " of step " << i + 1;
    }
    for (const char* name : {"learning_rate", "epoch"}) {
      EXPECT_NEAR(run.metric(i, name), steps[i][name].get<double>(), 1e-12) << name;
    }
  }
}

TEST(GoldenSft, TenStepsOfTrainerAndPeft) {
  const nlohmann::json golden = testing::read_golden("sft/log.json");
  const ScratchFolder folder;
  const SftSetup setup = golden_setup(folder / "model");
  const testing::SftRun run = testing::run_sft(setup, folder / "run");
  expect_steps(run, golden["steps"]);
  int clipped = 0;
  for (size_t i = 0; i < 10; ++i) {
    clipped += run.metric(i, "grad_norm") > setup.sft.max_grad_norm ? 1 : 0;
  }
  EXPECT_GT(clipped, 0);
  EXPECT_LT(clipped, 10);

  double distance = 0, size = 0, moved = 0;
  const auto ours = read_safetensors(folder / "run" / "adapter" / "adapter_model.safetensors");
  std::map<std::string, at::Tensor> actual(ours.begin(), ours.end());
  const auto begin =
      read_safetensors(repository("tests/golden/sft/start/adapter_model.safetensors"));
  std::map<std::string, at::Tensor> start(begin.begin(), begin.end());
  for (const auto& [name, expected] :
       read_safetensors(repository("tests/golden/sft/final/adapter_model.safetensors"))) {
    ASSERT_TRUE(actual.contains(name)) << name;
    const auto squares = [](const at::Tensor& x) { return x.square().sum().item<double>(); };
    distance += squares(actual[name].sub(expected));
    moved += squares(start[name].sub(expected));
    size += squares(expected);
  }
  EXPECT_LT(std::sqrt(distance / size), 1e-4);
  EXPECT_GT(std::sqrt(moved / size), 1e-2);  // there was something to learn
}

TEST(GoldenSft, TenStepsOfTrainerWithLabelSmoothing) {
  const nlohmann::json golden = testing::read_golden("sft/log_smoothed.json");
  const ScratchFolder folder;
  SftSetup setup = golden_setup(folder / "model");
  setup.sft.label_smoothing_factor = golden["label_smoothing_factor"];
  expect_steps(testing::run_sft(setup, folder / "run"), golden["steps"]);
}

}  // namespace
}  // namespace leash

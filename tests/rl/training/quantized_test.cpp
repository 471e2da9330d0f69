// Every supervised trainer on a quantised base: less memory, another base than the dense one, a
// loss that falls, exact resume.
#include <gtest/gtest.h>

#include "rl/classification/trainer.h"
#include "rl/reward_model/trainer.h"
#include "tests/rl/sft/run.h"

namespace leash {
namespace {

using testing::read_text;
using testing::run_with;
using testing::ScratchFolder;
using testing::SftRun;
using testing::write_text;

class QuantizedTraining : public ::testing::TestWithParam<Quantize> {
 protected:
  QuantizedTraining() { testing::make_model(folder_ / "model"); }

  template <class Setup, class Config>
  void prepare(Setup& setup, Config& config, const std::string& lines) const {
    write_text(folder_ / "train.jsonl", lines);
    setup.model.path = (folder_ / "model").string();
    setup.lora.target_modules = "all-linear";
    setup.lora.lora_dropout = 0.1;
    setup.data.train = folder_ / "train.jsonl";
    config.per_device_train_batch_size = 4;
    config.learning_rate = 5e-3;
    config.max_steps = 8;
    setup.run.save_steps = 2;
  }

  // `decoder_of` loads the base as the trainer does.
  template <class Trainer, class Setup, class DecoderOf>
  void expect_trains(Setup setup, const DecoderOf& decoder_of) const {
    const int64_t dense_bytes = decoder_of(setup)->weight_bytes();
    const SftRun dense = run_with<Trainer>(setup, folder_ / "dense", 1);
    setup.model.quantize = GetParam();
    EXPECT_LT(decoder_of(setup)->weight_bytes(), 0.6 * static_cast<double>(dense_bytes));
    const SftRun whole = run_with<Trainer>(setup, folder_ / "whole");
    EXPECT_NE(whole.metric(0, "loss"), dense.metric(0, "loss"));
    const double before = whole.metric(0, "loss") + whole.metric(1, "loss");
    EXPECT_LT(whole.metric(6, "loss") + whole.metric(7, "loss"), 0.95 * before);
    EXPECT_EQ(run_with<Trainer>(setup, folder_ / "parts", 3).outcome.end, RunEnd::interrupted);
    run_with<Trainer>(setup, folder_ / "parts");
    for (const char* file :
         {"adapter/adapter_model.safetensors", "snapshots/step-8/optimizer.safetensors"}) {
      EXPECT_TRUE(read_text(folder_ / "whole" / file) == read_text(folder_ / "parts" / file))
          << file;
    }
  }

  ScratchFolder folder_;
};

TEST_P(QuantizedTraining, Sft) {
  SftSetup setup;
  std::string lines;
  for (int i = 0; i < 12; ++i) {
    lines += "{\"prompt\": \"SAY " + std::to_string(i) + ":\", \"completion\": \"" +
             std::string(1 + i % 4, static_cast<char>('A' + i)) + "\"}\n";
  }
  prepare(setup, setup.sft, lines);
  expect_trains<SftTrainer>(setup, [](const SftSetup& s) { return load_sft_model(s).decoder; });
}

TEST_P(QuantizedTraining, Reward) {
  RewardSetup setup;
  std::string lines;
  for (int i = 0; i < 12; ++i) {
    const std::string other(1 + i % 4, static_cast<char>('K' + i));
    lines += "{\"prompt\": \"SAY: \", \"chosen\": \"" + other + "A\", \"rejected\": \"" + other +
             "BCD\"}\n";
  }
  prepare(setup, setup.reward, lines);
  expect_trains<RewardTrainer>(setup,
                               [](const RewardSetup& s) { return load_reward_model(s).decoder; });
}

TEST_P(QuantizedTraining, Classification) {
  ClassificationSetup setup;
  std::string lines;
  for (int i = 0; i < 12; ++i) {
    lines += "{\"text\": \"" + std::string(1 + i % 4, static_cast<char>('K' + i)) +
             (i % 2 == 0 ? "A\", \"label\": \"YES\"}\n" : "B\", \"label\": \"NO\"}\n");
  }
  prepare(setup, setup.classification, lines);
  expect_trains<ClassificationTrainer>(
      setup, [](const ClassificationSetup& s) { return load_classifier(s).model.decoder; });
}

// A GGUF's own blocks are the numbers that it loads as: training over them is training over those.
TEST(QuantizedTrainingSmolLM2, KeptBlocksTrainAsTheDequantisedModel) {
  const ScratchFolder folder;
  std::string lines;
  for (const char* text : {"The capital of France is Paris.", "Water boils at 100 degrees.",
                           "A triangle has three sides.", "The sun rises in the east."}) {
    lines += nlohmann::json{{"text", text}}.dump() + "\n";
  }
  write_text(folder / "train.jsonl", lines);
  SftSetup setup;
  setup.model.path = testing::smollm2().string();
  setup.lora.target_modules = std::vector<std::string>{"q_proj", "v_proj", "down_proj"};
  setup.data.train = folder / "train.jsonl";
  setup.sft.per_device_train_batch_size = 2;
  setup.sft.learning_rate = 1e-3;
  setup.sft.max_steps = 3;
  const SftRun dense = run_with<SftTrainer>(setup, folder / "dense");
  setup.model.quantize = Quantize::keep;
  const SftRun kept = run_with<SftTrainer>(setup, folder / "kept");
  for (size_t step = 0; step < 3; ++step) {
    for (const char* name : {"loss", "grad_norm"}) {
      EXPECT_NEAR(kept.metric(step, name), dense.metric(step, name),
                  1e-4 * dense.metric(step, name))
          << name << " of step " << step + 1;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, QuantizedTraining, ::testing::Values(Quantize::nf4, Quantize::int8),
                         [](const auto& named) { return std::string(enum_name(named.param)); });

}  // namespace
}  // namespace leash

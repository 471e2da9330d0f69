// Text classification against transformers and PEFT (tests/golden/make_classification.py): logits,
// loss and gradients, eight steps of Trainer, and PEFT's folders both ways; with LoRA and without.
#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "models/decoder/score_head.h"
#include "models/io/safetensors.h"
#include "models/lora/peft_adapter.h"
#include "rl/classification/loss.h"
#include "rl/classification/trainer.h"
#include "tests/rl/json_tensors.h"
#include "tests/rl/sft/run.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using testing::all_close;
using testing::read_text;
using testing::repository;
using testing::ScratchFolder;
using testing::to_tensor;

std::map<std::string, at::Tensor> tensors_of(const std::filesystem::path& file) {
  const NamedTensors tensors = read_safetensors(file);
  return {tensors.begin(), tensors.end()};
}

class GoldenClassification : public ::testing::TestWithParam<const char*> {
 protected:
  GoldenClassification()
      : golden(testing::read_golden(std::string("classification/") + GetParam() + "/log.json")) {
    testing::make_model(folder / "model");
    setup.model.path = (folder / "model").string();
    setup.data.train = repository("tests/golden/classification/data.jsonl");
    setup.data.shuffle = false;
    setup.lora.path = from("start");
  }
  static std::filesystem::path from(const std::string& name) {
    return repository("tests/golden/classification") / GetParam() / name;
  }
  static at::Tensor logits(const Classifier& classifier) {
    std::vector<std::vector<int64_t>> sequences;
    for (const LabelledText& text : classifier.data.train.texts) sequences.push_back(text.ids);
    return class_logits(sequences, *classifier.model.decoder, classifier.model.adapter);
  }

  const ScratchFolder folder;
  const nlohmann::json golden;
  ClassificationSetup setup;
};

TEST_P(GoldenClassification, LogitsLossAndGradientsAreThoseOfThePaddedBatch) {
  setup.classification.micro_batch_tokens = 60;  // several passes
  const Classifier classifier = load_classifier(setup);
  EXPECT_EQ(classifier.data.classes, (ClassNames{"BIRD", "CAT", "DOG"}));
  const at::Tensor actual = logits(classifier);
  EXPECT_TRUE(all_close(actual, to_tensor(golden["logits"], at::kFloat), 1e-5, 1e-5));

  std::vector<int64_t> labels;
  for (const LabelledText& text : classifier.data.train.texts) labels.push_back(text.label);
  const double smoothed =
      classification_loss(actual, at::tensor(labels, at::kLong), golden["smoothing"],
                          static_cast<double>(labels.size()))
          .item<double>();
  const double expected_smoothed = golden["smoothed_loss"], expected_loss = golden["loss"];
  EXPECT_NEAR(smoothed, expected_smoothed, 1e-5 * expected_smoothed);
  EXPECT_GT(expected_smoothed, 1.001 * expected_loss);

  const ClassificationSums sums =
      accumulate_gradients(text_refs(classifier.data.train.texts), 1, setup,
                           classifier.model.adapted(), *single_communicator());
  EXPECT_NEAR(sums.loss, expected_loss, 1e-5 * expected_loss);
  const auto gradients = tensors_of(from("gradients.safetensors"));
  EXPECT_EQ(gradients.size(), classifier.model.adapter.parameters().size());
  int64_t trained = 0;
  for (const auto& [name, tensor] : classifier.model.adapter.named_tensors()) {
    const auto expected = gradients.find(name);
    ASSERT_NE(expected, gradients.end()) << name;
    const double size = expected->second.abs().max().item<double>();
    EXPECT_GT(size, 1e-4) << name;
    EXPECT_TRUE(all_close(tensor.grad(), expected->second, 0, 1e-5 * size)) << name;
    trained += tensor.numel();
  }
  EXPECT_EQ(trained, golden["trainable"].get<int64_t>());
}

TEST_P(GoldenClassification, EightStepsOfTrainer) {
  const auto& settings = golden["settings"];
  ClassificationConfig& config = setup.classification;
  config.per_device_train_batch_size = settings["per_device_train_batch_size"];
  config.gradient_accumulation_steps = settings["gradient_accumulation_steps"];
  config.max_steps = settings["max_steps"];
  config.learning_rate = settings["learning_rate"];
  config.lr_scheduler_type = SchedulerType::cosine;
  config.warmup_ratio = settings["warmup_ratio"];
  config.weight_decay = settings["weight_decay"];
  config.adam_beta2 = settings["adam_beta2"];
  config.max_grad_norm = settings["max_grad_norm"];
  config.label_smoothing_factor = settings["label_smoothing_factor"];
  config.micro_batch_tokens = 50;
  const testing::SftRun run = testing::run_with<ClassificationTrainer>(setup, folder / "run");
  ASSERT_EQ(run.rows.size(), 8u);
  for (size_t i = 0; i < 8; ++i) {
    const auto& expected = golden["steps"][i];
    for (const char* name : {"loss", "grad_norm"}) {
      const double value = expected[name];
      EXPECT_NEAR(run.metric(i, name), value, 1e-4 * value) << name << " of step " << i + 1;
    }
    for (const char* name : {"learning_rate", "epoch"}) {
      EXPECT_NEAR(run.metric(i, name), expected[name].get<double>(), 1e-12) << name;
    }
  }
  const auto ours = folder / "run/adapter/adapter_model.safetensors";
  const auto final = from("final/adapter_model.safetensors");
  EXPECT_LT(testing::adapter_distance(ours, final), 1e-4);
  EXPECT_GT(testing::adapter_distance(from("start/adapter_model.safetensors"), final), 5e-3);
}

TEST_P(GoldenClassification, PeftsAdapterIsReadAndWrittenAgainByteForByte) {
  setup.lora.path = from("final");
  const Classifier classifier = load_classifier(setup);
  EXPECT_TRUE(
      all_close(logits(classifier), to_tensor(golden["final_logits"], at::kFloat), 1e-5, 1e-5));
  ASSERT_EQ(score_outputs(from("final")), 3);
  save_adapter(folder / "again", load_score_adapter(from("final"), *classifier.model.decoder, 3),
               "tiny_llama");
  for (const char* file : {"adapter_config.json", "adapter_model.safetensors"}) {
    EXPECT_EQ(read_text(folder / "again" / file), read_text(from("final") / file)) << file;
  }
}

// The settings of a recipe give the folder that PEFT writes for its own.
TEST_P(GoldenClassification, ARecipesTrainableListIsPeftsModulesToSave) {
  const bool top = std::string(GetParam()) == "top";
  setup.lora = {.task_type = TaskType::SEQ_CLS};
  if (top) {
    setup.lora.target_modules = std::vector<std::string>{};
    setup.lora.trainable = {"model.layers.1.(mlp|post_attention_layernorm)", "model.norm"};
  } else {
    setup.lora.r = 4;
    setup.lora.target_modules =
        std::vector<std::string>{"q_proj", "v_proj", "gate_proj", "down_proj"};
    setup.lora.trainable = {R"(.*\.1\.mlp\.gate_proj)", R"(.*\.1\.post_attention.*)",
                            R"(model\.layers\.1\.self_attn\.k_proj\.weight)", "model.norm"};
  }
  const Classifier classifier = load_classifier(setup);
  const auto expected = tensors_of(from("start/adapter_model.safetensors"));
  EXPECT_EQ(classifier.model.adapter.named_tensors().size(), expected.size());
  for (const auto& [name, tensor] : classifier.model.adapter.named_tensors()) {
    ASSERT_TRUE(expected.contains(name)) << name;
    EXPECT_EQ(tensor.sizes(), expected.at(name).sizes()) << name;
  }
  save_adapter(folder / "fresh", classifier.model.adapter, "tiny_llama");
  const LoraConfig ours = read_adapter_config(folder / "fresh");
  const LoraConfig peft = read_adapter_config(from("start"));
  EXPECT_EQ(std::set(ours.modules_to_save.begin(), ours.modules_to_save.end()),
            std::set(peft.modules_to_save.begin(), peft.modules_to_save.end()));
  EXPECT_TRUE(ours.trainable.empty());
}

INSTANTIATE_TEST_SUITE_P(GoldenAdapters, GoldenClassification, ::testing::Values("lora", "top"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace leash

// A base in float16 beneath an adapter in fp32, trained with a loss scale.
#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>

#include <cmath>

#include "models/errors.h"
#include "rl/classification/trainer.h"
#include "tests/rl/reward_model/run.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using ::testing::HasSubstr;
using testing::read_text;
using testing::run_sft;
using testing::run_with;
using testing::ScratchFolder;
using testing::SftRun;
using testing::write_text;

struct ScaledGradients {
  SftSums sums;
  std::vector<at::Tensor> values;  // unscaled
};

ScaledGradients gradients(at::ScalarType dtype, double loss_scale) {
  const auto decoder = testing::tiny_decoder(dtype);
  const Adapter adapter = testing::tiny_adapter(*testing::tiny_decoder(at::kFloat), 3, 0.1);
  const auto data = testing::uneven_samples();
  ScaledGradients result{.sums = accumulate_gradients(sample_refs(data), 1, SftSetup{},
                                                      {*decoder, adapter}, *single_communicator(),
                                                      loss_scale)};
  for (const at::Tensor& parameter : adapter.parameters()) {
    EXPECT_EQ(parameter.grad().scalar_type(), at::kFloat);
    result.values.push_back(parameter.grad().div(loss_scale));
  }
  return result;
}

double distance(const ScaledGradients& a, const ScaledGradients& b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.values.size(); ++i) {
    difference += a.values[i].sub(b.values[i]).square().sum().item<double>();
    size += b.values[i].square().sum().item<double>();
  }
  return std::sqrt(difference / size);
}

// Scaled where they begin, so that what float16 cannot hold is there.
TEST(Float16Training, ALossScaleKeepsSmallGradients) {
  const ScaledGradients wide = gradients(at::kFloat, 1);
  const ScaledGradients scaled = gradients(at::kHalf, 1024), plain = gradients(at::kHalf, 1);
  EXPECT_NEAR(scaled.sums.loss, wide.sums.loss, 0.01);
  EXPECT_EQ(scaled.sums.loss, plain.sums.loss);
  EXPECT_LT(distance(scaled, wide), 0.01);
  EXPECT_GT(distance(scaled, wide), 0);
  EXPECT_GT(distance(gradients(at::kHalf, 1.0 / 1024), wide), 2 * distance(scaled, wide));
  EXPECT_EQ(distance(gradients(at::kFloat, 1024), wide), 0);  // a power of two
}

class Float16Test : public ::testing::Test {
 protected:
  Float16Test() {
    testing::make_model(folder_ / "model");
    std::string texts, pairs, labelled;
    for (int i = 0; i < 12; ++i) {
      const std::string body(1 + i % 4, static_cast<char>('K' + i));
      texts += "{\"text\": \"SAY " + body + "\"}\n";
      pairs += "{\"prompt\": \"SAY " + std::to_string(i) + ": \", \"chosen\": \"" + body +
               "A\", \"rejected\": \"" + body + "BCD\"}\n";
      labelled += "{\"text\": \"" + body + (i % 3 == 0 ? "A" : "B") + "\", \"label\": \"" +
                  (i % 3 == 0 ? "YES" : "NO") + "\"}\n";
    }
    write_text(folder_ / "train.jsonl", texts);
    write_text(folder_ / "pairs.jsonl", pairs);
    write_text(folder_ / "labelled.jsonl", labelled);
    setup_ = setup_of<SftSetup>("train.jsonl");
    schedule(setup_.sft);
  }

  template <class Setup>
  Setup setup_of(const std::string& data) const {
    Setup setup;
    setup.model = {.path = (folder_ / "model").string(), .dtype = DtypeChoice::float16};
    setup.lora.r = 4;
    setup.lora.target_modules = "all-linear";
    setup.data.train = folder_ / data;
    setup.run.save_steps = 2;
    return setup;
  }
  // Every step takes the whole file.
  static void schedule(TrainingConfig& config) {
    config.per_device_train_batch_size = 12;
    config.learning_rate = 1e-2;
    config.max_steps = 10;
  }
  template <class Trainer, class Setup>
  void expect_near_float32(Setup setup) const {
    const SftRun narrow = run_with<Trainer>(setup, folder_ / "narrow");
    setup.model.dtype = DtypeChoice::float32;
    const SftRun wide = run_with<Trainer>(setup, folder_ / "wide");
    ASSERT_EQ(narrow.rows.size(), wide.rows.size());
    for (size_t i = 0; i < wide.rows.size(); ++i) {
      EXPECT_NEAR(narrow.metric(i, "loss"), wide.metric(i, "loss"), 0.03) << i;
      EXPECT_NEAR(narrow.metric(i, "grad_norm") / wide.metric(i, "grad_norm"), 1, 0.1) << i;
      EXPECT_EQ(narrow.metric(i, "learning_rate"), wide.metric(i, "learning_rate")) << i;
      EXPECT_EQ(narrow.metric(i, "step_skipped"), 0) << i;
      EXPECT_EQ(narrow.metric(i, "loss_scale"), 1024) << i;
    }
    EXPECT_LT(narrow.metric(narrow.rows.size() - 1, "loss"), 0.9 * narrow.metric(0, "loss"));
    EXPECT_LT(testing::adapter_distance(file("narrow"), file("wide")), 0.2);
  }
  std::filesystem::path file(const std::string& run) const {
    return folder_ / run / "adapter/adapter_model.safetensors";
  }

  ScratchFolder folder_;
  SftSetup setup_;
};

TEST_F(Float16Test, SupervisedTrainingIsNearFloat32) {
  setup_.sft.fp16_init_scale = 1024;
  setup_.data.eval = folder_ / "train.jsonl";
  setup_.sft.eval_strategy = EvalStrategy::steps;
  setup_.sft.eval_steps = 5;
  setup_.sft.eval_answers = 2;  // through the cache
  expect_near_float32<SftTrainer>(setup_);
  for (const auto& [name, tensor] : read_safetensors(file("narrow"))) {
    EXPECT_EQ(tensor.scalar_type(), at::kFloat) << name;
  }
}

TEST_F(Float16Test, CopiesThatTrainToo) {
  setup_.sft.fp16_init_scale = 1024;
  setup_.sft.max_steps = 6;
  setup_.lora.modules_to_save = {"lm_head", "norm", "o_proj"};
  setup_.lora.target_modules = std::vector<std::string>{"q_proj", "down_proj"};
  expect_near_float32<SftTrainer>(setup_);
}

TEST_F(Float16Test, RewardTrainingIsNearFloat32) {
  auto setup = setup_of<RewardSetup>("pairs.jsonl");
  schedule(setup.reward);
  setup.reward.fp16_init_scale = 1024;
  expect_near_float32<RewardTrainer>(setup);
}

TEST_F(Float16Test, ClassificationIsNearFloat32) {
  auto setup = setup_of<ClassificationSetup>("labelled.jsonl");
  schedule(setup.classification);
  setup.classification.fp16_init_scale = 1024;
  expect_near_float32<ClassificationTrainer>(setup);
}

// A first scale that is far too large: the optimizer and the schedule wait until it has shrunk.
TEST_F(Float16Test, OverflowsAreSkippedUntilTheScaleFits) {
  setup_.sft.fp16_init_scale = 1 << 24;
  setup_.sft.fp16_growth_interval = 1000;
  setup_.data.shuffle = false;  // every step has the same loss until one is applied
  setup_.sft.warmup_steps = 3;
  const SftRun run = run_sft(setup_, folder_ / "run");
  ASSERT_EQ(run.rows.size(), 10u);
  const ScheduleConfig schedule = schedule_of(setup_.sft, 10);
  int64_t updates = 0, skipped = 0;
  for (size_t i = 0; i < run.rows.size(); ++i) {
    SCOPED_TRACE(i);
    const bool skips = run.metric(i, "step_skipped") == 1;
    EXPECT_EQ(run.metric(i, "loss_scale"), std::ldexp(1.0, static_cast<int>(24 - skipped)));
    EXPECT_EQ(run.metric(i, "learning_rate"), learning_rate_at(schedule, updates));
    EXPECT_EQ(std::isfinite(run.metric(i, "grad_norm")), !skips);
    EXPECT_TRUE(std::isfinite(run.metric(i, "loss")));
    if (updates == 0) {
      EXPECT_EQ(run.metric(i, "loss"), run.metric(0, "loss"));
    }
    (skips ? skipped : updates) += 1;
  }
  EXPECT_GE(skipped, 3);
  EXPECT_GE(updates, 3);
  EXPECT_LT(run.metric(9, "loss"), run.metric(0, "loss"));
  // AdamW counts its updates.
  for (const auto& [name, tensor] :
       read_safetensors(folder_ / "run/snapshots/step-10/optimizer.safetensors")) {
    if (name == "0.step") {
      EXPECT_EQ(tensor.item<int64_t>(), updates);
    }
  }
}

TEST_F(Float16Test, TheScaleGrowsAfterGoodSteps) {
  setup_.sft.fp16_init_scale = 256;
  setup_.sft.fp16_growth_interval = 3;
  const SftRun run = run_sft(setup_, folder_ / "run");
  for (size_t i = 0; i < run.rows.size(); ++i) {
    EXPECT_EQ(run.metric(i, "loss_scale"), 256 << (i / 3)) << i;
  }
}

// Stopped among skipped steps, and in the middle of a growth interval.
TEST_F(Float16Test, ResumingIsBitIdentical) {
  setup_.lora.lora_dropout = 0.1;
  setup_.sft.per_device_train_batch_size = 4;
  setup_.sft.fp16_init_scale = 1 << 26;
  setup_.sft.fp16_growth_interval = 3;
  setup_.sft.max_steps = 12;
  setup_.sft.lr_scheduler_type = SchedulerType::cosine;
  for (const Quantize quantize : {Quantize::none, Quantize::nf4}) {
    const std::string kind(enum_name(quantize));
    setup_.model.quantize = quantize;
    const SftRun whole = run_sft(setup_, folder_ / ("whole-" + kind));
    run_sft(setup_, folder_ / ("parts-" + kind), 1);
    run_sft(setup_, folder_ / ("parts-" + kind), 8);
    const SftRun parts = run_sft(setup_, folder_ / ("parts-" + kind));
    ASSERT_EQ(parts.rows.size(), whole.rows.size());
    double skipped = 0, grown = 0;
    for (size_t i = 0; i < whole.rows.size(); ++i) {
      for (const char* name : {"loss", "loss_scale", "step_skipped", "learning_rate"}) {
        EXPECT_EQ(parts.metric(i, name), whole.metric(i, name)) << kind << " " << i << " " << name;
      }
      skipped += whole.metric(i, "step_skipped");
      grown += i > 0 && whole.metric(i, "loss_scale") > whole.metric(i - 1, "loss_scale") ? 1 : 0;
    }
    EXPECT_GE(skipped, 2) << kind;
    EXPECT_GE(grown, 1) << kind;
    EXPECT_TRUE(read_text(file("whole-" + kind)) == read_text(file("parts-" + kind))) << kind;
  }
}

// No scale cures a run that diverged.
TEST_F(Float16Test, ALossThatStaysNonFiniteEndsTheRun) {
  setup_.sft.learning_rate = 1e30;
  setup_.sft.max_grad_norm = 0;
  setup_.sft.max_steps = 100;
  try {
    run_sft(setup_, folder_ / "run");
    FAIL() << "no error";
  } catch (const NonFinite& error) {
    EXPECT_THAT(error.what(), HasSubstr("the loss is "));
    EXPECT_THAT(error.what(), HasSubstr("float16's largest number"));
    EXPECT_THAT(error.what(), HasSubstr("good snapshot"));
  }
}

}  // namespace
}  // namespace leash

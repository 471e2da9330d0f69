// Settings of the supervised trainers that could be ignored without anybody noticing.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <algorithm>
#include <functional>

#include "tests/rl/sft/run.h"

namespace leash {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::read_text;
using testing::run_sft;
using testing::ScratchFolder;
using testing::SftRun;
using testing::write_text;

// 20 samples, 5 a step: four steps are an epoch.
class TrainingSettings : public ::testing::Test {
 protected:
  TrainingSettings() {
    testing::make_model(folder_ / "model");
    std::string text;
    for (int i = 0; i < 20; ++i) {
      text += fmt::format("{{\"text\": \"SAY {} {}\"}}\n", i * 7,
                          std::string(1 + i % 6, static_cast<char>('A' + i)));
    }
    write_text(folder_ / "train.jsonl", text);
    setup.model.path = (folder_ / "model").string();
    setup.lora.target_modules = "all-linear";
    setup.data.train = folder_ / "train.jsonl";
    setup.data.eval = setup.data.train;
    setup.sft.per_device_train_batch_size = 5;
    setup.sft.learning_rate = 4e-3;
    setup.sft.max_steps = 4;
    setup.run.save_total_limit = 0;
  }
  SftRun run(const SftSetup& with, const std::string& name) const {
    return run_sft(with, folder_ / name);
  }
  std::string adapter(const std::string& run) const {
    return read_text(folder_ / run / "adapter/adapter_model.safetensors");
  }
  std::vector<int64_t> snapshots(const SftSetup& with, const std::string& name) const {
    run(with, name);
    std::vector<int64_t> steps;
    for (const Snapshot& snapshot : list_snapshots(folder_ / name)) steps.push_back(snapshot.step);
    return steps;
  }

  ScratchFolder folder_;
  SftSetup setup;
};

TEST_F(TrainingSettings, EachNumberOfTheScheduleCounts) {
  struct Case {
    std::string name;
    SchedulerType type;
    std::map<std::string, double> kwargs;
    int64_t warmup_steps;
    std::vector<double> rates;  // in thousandths
  };
  const std::vector<Case> cases = {
      {"constant", SchedulerType::constant, {}, 0, {4, 4, 4, 4}},
      {"warmup_steps", SchedulerType::constant_with_warmup, {}, 2, {0, 2, 4, 4}},
      {"power", SchedulerType::polynomial, {{"power", 2}, {"lr_end", 0}}, 0, {4, 2.25, 1, 0.25}},
      {"lr_end", SchedulerType::polynomial, {{"lr_end", 2e-3}}, 0, {4, 3.5, 3, 2.5}},
      {"min_lr_rate",
       SchedulerType::cosine_with_min_lr,
       {{"min_lr_rate", 0.5}},
       0,
       {4, 3 + std::sqrt(0.5), 3, 3 - std::sqrt(0.5)}},
      {"num_cycles", SchedulerType::cosine, {{"num_cycles", 1}}, 0, {4, 2, 0, 2}}};
  for (const Case& c : cases) {
    setup.sft.lr_scheduler_type = c.type;
    setup.sft.lr_scheduler_kwargs = c.kwargs;
    setup.sft.warmup_steps = c.warmup_steps;
    const SftRun done = run(setup, c.name);
    for (size_t step = 0; step < 4; ++step) {
      EXPECT_NEAR(done.metric(step, "learning_rate"), 1e-3 * c.rates[step], 1e-9)
          << c.name << " at step " << step + 1;
    }
  }
}

// What a setting changes: the batches (and with them the first loss, of the untrained model), or
// the adapter that comes out.
TEST_F(TrainingSettings, EachChangesTheRun) {
  struct Case {
    std::string name;
    std::function<void(SftSetup&)> change;
    bool changes_batches;
  };
  const std::vector<Case> cases = {
      {"data_seed", [](SftSetup& s) { s.sft.data_seed = 7; }, true},
      {"shuffle", [](SftSetup& s) { s.data.shuffle = false; }, true},
      {"adam_beta1", [](SftSetup& s) { s.sft.adam_beta1 = 0.5; }, false},
      {"adam_beta2", [](SftSetup& s) { s.sft.adam_beta2 = 0.9; }, false},
      {"adam_epsilon", [](SftSetup& s) { s.sft.adam_epsilon = 1e-2; }, false},
      {"weight_decay", [](SftSetup& s) { s.sft.weight_decay = 0.5; }, false},
      {"max_grad_norm", [](SftSetup& s) { s.sft.max_grad_norm = 1e-3; }, false},
      {"optim", [](SftSetup& s) { s.sft.optim = OptimizerKind::adafactor; }, false}};
  const SftRun base = run(setup, "base");
  for (const Case& c : cases) {
    SftSetup changed = setup;
    c.change(changed);
    const SftRun other = run(changed, c.name);
    EXPECT_EQ(other.metric(0, "loss") != base.metric(0, "loss"), c.changes_batches) << c.name;
    EXPECT_NE(adapter(c.name), adapter("base")) << c.name;
  }
  SftSetup same = setup;
  same.sft.data_seed = setup.run.seed;
  run(same, "same");
  EXPECT_EQ(adapter("same"), adapter("base"));
}

TEST_F(TrainingSettings, TheLongestRowComesFirstWithGroupByLength) {
  setup.sft.group_by_length = true;
  const std::vector<int64_t> lengths = {3, 9, 4, 1, 12, 5, 2, 8};
  const BatchOrder order = batch_order(setup.sft, lengths, /*shuffle=*/true, /*seed=*/3);
  const std::vector<int64_t> first = order.batch(0);
  EXPECT_EQ(first.front(), 4);
}

TEST_F(TrainingSettings, SnapshotsAreTakenAsSaveStrategySays) {
  setup.sft.max_steps = 9;
  setup.run.save_steps = 3;
  EXPECT_THAT(snapshots(setup, "steps"), ElementsAre(3, 6, 9));
  setup.run.save_total_limit = 2;
  EXPECT_THAT(snapshots(setup, "limit"), ElementsAre(6, 9));
  setup.run.save_total_limit = 0;
  setup.run.save_strategy = SaveStrategy::epoch;
  EXPECT_THAT(snapshots(setup, "epoch"), ElementsAre(4, 8, 9));
  setup.run.save_strategy = SaveStrategy::no;
  EXPECT_THAT(snapshots(setup, "no"), ElementsAre(9));
  setup.sft.eval_strategy = EvalStrategy::epoch;  // the best one has to be there
  EXPECT_THAT(snapshots(setup, "evaluations"), ElementsAre(4, 8, 9));
}

TEST_F(TrainingSettings, EvaluatesOnStartWhenAsked) {
  EXPECT_EQ(run(setup, "without").rows.front().step, 1);
  setup.sft.eval_on_start = true;
  const SftRun with = run(setup, "with");
  EXPECT_EQ(with.rows.front().step, 0);
  EXPECT_GT(with.metric(0, "eval/loss"), 0);
}

TEST_F(TrainingSettings, EventsAreWrittenWhenAsked) {
  const auto events = [&](const std::string& name) {
    run(setup, name);
    int64_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / name)) {
      const bool is_one = entry.path().filename().string().starts_with("events.out.tfevents.");
      count += is_one && entry.file_size() > 100 ? 1 : 0;
    }
    return count;
  };
  EXPECT_EQ(events("without"), 0);
  setup.run.report_to = {ReportTo::tensorboard};
  EXPECT_EQ(events("with"), 1);
}

// Tensors of 4,096 numbers and more have 8-bit states, which a resumed run finds as they were.
TEST_F(TrainingSettings, PagedEightBitAdamWReachesTheTrainerAndResumesExactly) {
  setup.sft.optim = OptimizerKind::paged_adamw_8bit;
  setup.lora.r = 128;
  setup.lora.target_modules = std::vector<std::string>{"q_proj", "v_proj"};
  run(setup, "whole");
  run_sft(setup, folder_ / "parts", 2);
  EXPECT_EQ(run(setup, "parts").outcome.step, 4);
  for (const char* file :
       {"adapter/adapter_model.safetensors", "snapshots/step-4/optimizer.safetensors"}) {
    EXPECT_TRUE(read_text(folder_ / "whole" / file) == read_text(folder_ / "parts" / file)) << file;
  }
  int64_t codes = 0;
  for (const auto& [name, tensor] :
       read_safetensors(folder_ / "whole/snapshots/step-4/optimizer.safetensors")) {
    if (tensor.scalar_type() != at::kByte) continue;
    EXPECT_GE(tensor.numel(), 4096) << name;
    EXPECT_TRUE(tensor.ne(tensor.view(-1)[0]).any().item<bool>()) << name;
    ++codes;
  }
  EXPECT_EQ(codes, 2 * 2 * 3);  // both moments of q's A and B and of v's A, in two layers

  const std::string text = folder_ / "console.txt";
  const int descriptor = open(text.c_str(), O_CREAT | O_WRONLY, 0600);
  {
    Console console(descriptor, false);
    RunFolder folder = RunFolder::open(folder_ / "announced", false);
    const auto alone = single_communicator();
    const SftTrainer trainer(setup, {folder, *alone, console});
  }
  close(descriptor);
  EXPECT_THAT(read_text(text), HasSubstr("paged_adamw_8bit does what adamw_8bit does on a CPU"));
}

}  // namespace
}  // namespace leash

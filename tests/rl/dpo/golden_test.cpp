// Ten steps of TRL's DPOTrainer with PEFT against ours, an entry per loss, and the tokens that it
// makes of records of each format (tests/golden/make_dpo.py).
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "models/io/safetensors.h"
#include "tests/rl/dpo/run.h"
#include "tests/rl/json_tensors.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using testing::repository;
using testing::ScratchFolder;
using testing::write_text;

nlohmann::json golden_runs() { return testing::read_golden("dpo/log.json"); }

std::vector<std::string> run_names() {
  std::vector<std::string> names;
  for (const auto& run : golden_runs()) names.push_back(run["name"]);
  return names;
}

DpoConfig config_of(const nlohmann::json& settings) {
  DpoConfig config;
  config.per_device_train_batch_size = settings["per_device_train_batch_size"];
  config.gradient_accumulation_steps = settings.value("gradient_accumulation_steps", 1);
  config.max_steps = settings["max_steps"];
  config.learning_rate = settings["learning_rate"];
  config.lr_scheduler_type = SchedulerType::cosine;
  config.warmup_ratio = settings["warmup_ratio"];
  config.weight_decay = settings["weight_decay"];
  config.adam_beta2 = settings["adam_beta2"];
  config.max_grad_norm = settings["max_grad_norm"];
  config.beta = settings.value("beta", 0.1);
  config.label_smoothing = settings.value("label_smoothing", 0.0);
  config.precompute_ref_log_probs = settings.value("precompute_ref_log_probs", false);
  if (settings.contains("ld_alpha")) config.ld_alpha = settings["ld_alpha"].get<double>();
  if (settings.contains("loss_weights")) config.loss_weights = settings["loss_weights"];
  if (!settings.contains("loss_type")) return config;
  const auto& types = settings["loss_type"];
  config.loss_type.values.clear();
  for (const std::string& type : types.is_string() ? std::vector<std::string>{types}
                                                   : types.get<std::vector<std::string>>()) {
    for (const auto& [value, name] : EnumNames<DpoLoss>::values) {
      if (name == type) config.loss_type.values.push_back(value);
    }
  }
  return config;
}

class GoldenDpo : public ::testing::TestWithParam<std::string> {
 protected:
  GoldenDpo() {
    testing::make_model(folder / "model");
    setup.model.path = (folder / "model").string();
    setup.data.train = repository("tests/golden/dpo/train.jsonl");
    setup.data.shuffle = false;
    setup.lora.path = repository("tests/golden/dpo/start");
    for (const auto& run : golden_runs()) {
      if (run["name"] == GetParam()) golden = run;
    }
    setup.dpo = config_of(golden["settings"]);
    setup.dpo.micro_batch_tokens = 100;  // several passes a step
    if (GetParam() == "adapter_off") setup.reference.kind = ReferenceKind::adapter_off;
  }
  // Tensors of this run under PEFT's names.
  std::map<std::string, at::Tensor> tensors(const std::string& kind) const {
    const std::string prefix = GetParam() + "/" + kind + "/";
    std::map<std::string, at::Tensor> found;
    for (const auto& [name, tensor] :
         read_safetensors(repository("tests/golden/dpo/tensors.safetensors"))) {
      if (name.starts_with(prefix)) found[name.substr(prefix.size())] = tensor;
    }
    return found;
  }

  ScratchFolder folder;
  DpoSetup setup;
  nlohmann::json golden;
};

double frobenius(const at::Tensor& x) { return x.square().sum().item<double>(); }

// Relative, over all tensors together.
double distance(const std::map<std::string, at::Tensor>& actual,
                const std::map<std::string, at::Tensor>& expected) {
  double difference = 0, size = 0;
  EXPECT_EQ(actual.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    if (!actual.contains(name)) {
      ADD_FAILURE() << "no tensor " << name;
      continue;
    }
    difference += frobenius(actual.at(name).sub(tensor));
    size += frobenius(tensor);
  }
  return std::sqrt(difference / size);
}

TEST_P(GoldenDpo, GradientsOfTheFirstStepAreTrls) {
  const PolicyBesideReference policy = load_policy(policy_source(setup));
  const PreferenceDataSets data =
      read_preferences_for(setup, policy.model.checkpoint, policy.model.tokenizer);
  const auto rows = setup.dpo.per_device_train_batch_size * setup.dpo.gradient_accumulation_steps;
  const auto pairs = judged_pairs(data.train.pairs);
  const DpoSums sums = accumulate_gradients(JudgedPairs(pairs).first(static_cast<size_t>(rows)), 1,
                                            setup, policy, *single_communicator());
  const double loss = golden["steps"][0]["loss"];
  EXPECT_NEAR(sums.loss, loss, 1e-4 * std::abs(loss));
  std::map<std::string, at::Tensor> gradients;
  for (const auto& [name, tensor] : policy.model.adapter.named_tensors()) {
    gradients[name] = tensor.grad();
  }
  EXPECT_LT(distance(gradients, tensors("gradient")), 1e-4);
}

TEST_P(GoldenDpo, TenStepsOfDpoTrainerAndPeft) {
  const testing::SftRun run = testing::run_dpo(setup, folder / "run");
  ASSERT_EQ(run.rows.size(), 10u);
  for (size_t i = 0; i < 10; ++i) {
    const auto& expected = golden["steps"][i];
    for (const char* name : {"loss", "grad_norm", "rewards/chosen", "rewards/rejected",
                             "rewards/margins", "logps/chosen", "logps/rejected", "entropy"}) {
      // TRL averages the entropies of accumulated batches, ours is the mean over all their tokens.
      if (GetParam() == std::string("accumulated") && name == std::string("entropy")) continue;
      const double value = expected[name];
      // Rewards are differences of log-probs of that size.
      const bool reward = std::string(name).starts_with("rewards/");
      const double size = reward ? 1.0 : std::abs(value);
      EXPECT_NEAR(run.metric(i, name), value, 1e-4 * size) << name << " of step " << i + 1;
    }
    for (const char* name : {"learning_rate", "epoch", "rewards/accuracies", "num_tokens"}) {
      EXPECT_NEAR(run.metric(i, name), expected[name].get<double>(), 1e-7) << name;
    }
  }
  std::map<std::string, at::Tensor> ours, start;
  for (const auto& [name, tensor] :
       read_safetensors(folder / "run" / "adapter" / "adapter_model.safetensors")) {
    ours[name] = tensor;
  }
  for (const auto& [name, tensor] :
       read_safetensors(repository("tests/golden/dpo/start/adapter_model.safetensors"))) {
    start[name] = tensor;
  }
  EXPECT_LT(distance(ours, tensors("final")), 1e-4);
  EXPECT_GT(distance(start, tensors("final")), 1e-2);  // there was something to learn
}

INSTANTIATE_TEST_SUITE_P(Losses, GoldenDpo, ::testing::ValuesIn(run_names()),
                         [](const auto& run) { return run.param; });

TEST(GoldenDpoData, RecordsBecomeTrlsTokens) {
  const ScratchFolder folder;
  write_text(folder / "tokenizer.json", testing::byte_tokenizer_json());
  write_text(
      folder / "tokenizer_config.json",
      nlohmann::json{{"chat_template", testing::kChatMl}, {"eos_token", "<|im_end|>"}}.dump());
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  for (const auto& set : testing::read_golden("dpo/tokens.json")) {
    DpoSetup setup;
    setup.data.train = folder / "pairs.jsonl";
    setup.data.max_length.reset();
    if (!set["max_length"].is_null()) setup.data.max_length = set["max_length"].get<int64_t>();
    std::string text;
    for (const auto& record : set["records"]) text += record.dump() + "\n";
    write_text(setup.data.train, text);
    const PreferenceData data =
        read_preferences(setup.data.train, tokenizer, setup.data, 1000, PairUse::answers);
    ASSERT_EQ(data.pairs.size(), set["pairs"].size()) << text;
    for (size_t i = 0; i < data.pairs.size(); ++i) {
      const PreferencePair& pair = data.pairs[i];
      const auto& expected = set["pairs"][i];
      EXPECT_EQ(pair.chosen, expected[0]["ids"].get<std::vector<int64_t>>()) << pair.line << text;
      EXPECT_EQ(pair.rejected, expected[1]["ids"].get<std::vector<int64_t>>()) << pair.line << text;
      EXPECT_EQ(pair.chosen_begin, expected[0]["begin"].get<int64_t>()) << pair.line << text;
      EXPECT_EQ(pair.rejected_begin, expected[1]["begin"].get<int64_t>()) << pair.line << text;
    }
  }
}

}  // namespace
}  // namespace leash

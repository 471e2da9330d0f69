// Sizes of a plan against those of what is really loaded, allocated and sent.
#include "rl/plan/plan.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <numeric>

#include "models/errors.h"
#include "models/weights/gather_queue.h"
#include "rl/distributed/gradient_sums.h"
#include "rl/optim/optimizer.h"
#include "rl/plan/activations.h"
#include "rl/plan/fit.h"
#include "rl/plan/known_models.h"
#include "rl/plan/trained_facts.h"
#include "rl/policy/experience.h"
#include "rl/reward_model/update.h"
#include "rl/sft/update.h"
#include "tests/support/files.h"
#include "tests/support/gathering_ranks.h"
#include "tests/support/tiny_families.h"
#include "tests/support/tiny_folder.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using ::testing::HasSubstr;
using testing::tiny_checkpoint;
using testing::tiny_decoder;
using testing::TinyOptions;

const TinyOptions kShapes[] = {
    {}, {.num_layers = 3, .tie_word_embeddings = false}, {.qkv_bias = true}};

TEST(PlanModel, ModulesAndParametersOfTheLoadedModel) {
  for (const TinyOptions& options : kShapes) {
    const auto decoder = tiny_decoder(at::kFloat, options);
    for (const ModelFacts& model :
         {facts_of(tiny_checkpoint(options)), facts_of(decoder->config(), "facts")}) {
      EXPECT_EQ(num_parameters(model), decoder->num_parameters());
      ASSERT_EQ(model.modules.size(), decoder->modules().size());
      for (size_t i = 0; i < model.modules.size(); ++i) {
        const ModuleInfo &planned = model.modules[i], &loaded = decoder->modules()[i];
        EXPECT_EQ(planned.path, loaded.path);
        EXPECT_EQ(planned.kind, loaded.kind);
        EXPECT_EQ(planned.in_features, loaded.in_features);
        EXPECT_EQ(planned.out_features, loaded.out_features);
        EXPECT_EQ(planned.has_bias, loaded.has_bias);
      }
    }
  }
}

TEST(PlanModel, WeightBytesOfTheLoadedModel) {
  for (const TinyOptions& options : kShapes) {
    const Checkpoint checkpoint = tiny_checkpoint(options);
    for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
      for (const Quantize quantize : {Quantize::none, Quantize::nf4, Quantize::int8}) {
        EXPECT_EQ(weight_bytes(facts_of(checkpoint), dtype, quantize),
                  Decoder::load(checkpoint, dtype, quantize)->weight_bytes())
            << dtype << " " << enum_name(quantize);
      }
    }
  }
}

TEST(PlanModel, EveryShapeOfADecoderIsThatOfTheLoadedModel) {
  for (const auto& [name, checkpoint] : testing::tiny_families()) {
    const ModelFacts facts = facts_of(checkpoint);
    EXPECT_EQ(num_parameters(facts), Decoder::load(checkpoint)->num_parameters()) << name;
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      for (const Quantize quantize : {Quantize::none, Quantize::nf4, Quantize::int8}) {
        EXPECT_EQ(weight_bytes(facts, dtype, quantize),
                  Decoder::load(checkpoint, dtype, quantize)->weight_bytes())
            << name << " " << dtype << " " << enum_name(quantize);
      }
    }
  }
}

TEST(ThreadsPlanModel, EveryShapeOfADecoderIsShardedAsPlanned) {
  for (const auto& [name, checkpoint] : testing::tiny_families()) {
    const ShardedBytes planned = sharded_bytes(facts_of(checkpoint), at::kFloat, 2);
    testing::run_gathering_ranks(2, [&](int64_t, const std::shared_ptr<GatherQueue>& queue) {
      EXPECT_EQ(Decoder::load(checkpoint, {.gathers = queue})->weight_bytes(), planned.held)
          << name;
    });
  }
}

// What a rank keeps, and what a phase gathers that holds everything, or passes that hold two units.
TEST(ThreadsPlanModel, ShardedWeightsAreThoseOfTheLoadedModel) {
  for (const TinyOptions& options : kShapes) {
    const Checkpoint checkpoint = tiny_checkpoint(options);
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      for (const int64_t ranks : {1, 2, 3, 4}) {
        const ShardedBytes planned = sharded_bytes(facts_of(checkpoint), dtype, ranks);
        testing::run_gathering_ranks(
            ranks, [&](int64_t, const std::shared_ptr<GatherQueue>& queue) {
              const auto decoder = Decoder::load(checkpoint, {.dtype = dtype, .gathers = queue});
              EXPECT_EQ(decoder->weight_bytes(), planned.held) << ranks;
              const Adapter adapter = testing::tiny_adapter(*decoder);
              const auto received = [&](GatherQueue::Keep keep, bool trains) {
                const int64_t before = queue->counts().bytes;
                GatherScope scope(queue.get(), keep);
                const at::Tensor hidden = decoder->forward(pack_one({4, 5, 9, 2}), adapter);
                const at::Tensor logits = decoder->logits(hidden, adapter);
                if (trains) torch::autograd::grad({hidden.sum()}, adapter.parameters());
                scope.finish();
                return queue->counts().bytes - before;
              };
              EXPECT_EQ(received(GatherQueue::Keep::next, true),
                        (planned.forward + planned.head + planned.backward) / ranks * (ranks - 1));
              EXPECT_EQ(received(GatherQueue::Keep::all, false), planned.all / ranks * (ranks - 1));
            });
      }
    }
  }
}

// Embedding 96 x 32, two blocks of 9,280 and a norm of 32: the last product that is read is
// down_proj, after which there are the norms of the last block and the last norm.
TEST(PlanModel, LoadingByHand) {
  const ModelFacts model = facts_of(tiny_checkpoint());
  EXPECT_EQ(num_parameters(model), 96 * 32 + 2 * 9280 + 32);
  EXPECT_EQ(loading_bytes(model, at::kFloat, Quantize::none),
            4 * (96 * 32 + 2 * 9280 - 2 * 32 + 64 * 32));
}

TEST(PlanModel, WhatDoesNotFitTheConfigurationIsSaid) {
  Checkpoint checkpoint = tiny_checkpoint();
  checkpoint.config.intermediate_size = 65;
  EXPECT_THROW(facts_of(checkpoint), FormatError);
  const ModelFacts alone = facts_of(tiny_checkpoint().config, "config.json");
  EXPECT_THROW(weight_bytes(alone, at::kFloat, Quantize::keep), ConfigError);
}

// Public counts of the five architectures, and the files beside the docs.
// As the loader has it: a head that differs from the embedding counts, one tensor more is an error.
TEST(PlanModel, TensorsAreThoseThatTheLoaderReads) {
  const testing::ScratchFolder folder;
  const auto with = [&](const std::string& name) {
    testing::write_tiny_folder(
        folder.path(), testing::tiny_byte_options(), [&](NamedTensors& tensors) {
          tensors.emplace_back(name, at::zeros({testing::kTinyVocabulary, 32}, at::kFloat));
        });
    return open_checkpoint(folder.path());
  };
  const Checkpoint own_head = with("lm_head.weight");
  EXPECT_EQ(num_parameters(facts_of(own_head)), Decoder::load(own_head)->num_parameters());
  EXPECT_THROW(facts_of(with("model.more.weight")), FormatError);
}

TEST(PlanModel, KnownModels) {
  const int64_t counts[] = {134515008, 1235814400, 3212749824, 8030261248, 70553706496};
  ASSERT_EQ(known_models().size(), std::size(counts));
  for (size_t i = 0; i < std::size(counts); ++i) {
    const KnownModel& known = known_models()[i];
    EXPECT_EQ(num_parameters(facts_of(known.config, known.name)), counts[i]) << known.name;
  }
  for (const auto& [index, file] :
       {std::pair{1, "llama-3.2-1b"}, {3, "llama-3.1-8b"}, {4, "llama-3.1-70b"}}) {
    const ModelFacts model =
        read_model_config(std::string(LEASH_SOURCE_DIR "/experiments/plan/") + file + ".json");
    EXPECT_EQ(num_parameters(model), counts[index]);
    EXPECT_EQ(model.config.num_layers, known_models()[index].config.num_layers);
    EXPECT_EQ(model.config.num_kv_heads, known_models()[index].config.num_kv_heads);
  }
}

std::vector<LoraConfig> adapters() {
  LoraConfig biased{.r = 2, .lora_alpha = 4};
  biased.bias = LoraBias::all;
  LoraConfig saved{.r = 3, .lora_alpha = 4, .target_modules = "all-linear"};
  saved.modules_to_save = {"lm_head", "input_layernorm"};
  return {{}, biased, saved};
}

Adapter adapter_of(const LoraConfig& config, const Decoder& decoder) {
  return Adapter::create(config, decoder.modules(), 1, [&](int64_t module, bool bias) {
    return decoder.base_value(module, bias);
  });
}

TEST(PlanTrained, ShapesAndOptimizerStatesOfTheRealThing) {
  const TinyOptions options{
      .hidden_size = 128, .head_dim = 32, .tie_word_embeddings = false, .qkv_bias = true};
  const auto decoder = tiny_decoder(at::kFloat, options);
  for (const LoraConfig& config : adapters()) {
    const auto parameters = adapter_of(config, *decoder).parameters();
    const AdapterFacts facts = adapter_facts(config, decoder->modules());
    ASSERT_EQ(facts.shapes.size(), parameters.size());
    for (size_t i = 0; i < parameters.size(); ++i) {
      EXPECT_EQ(facts.shapes[i], parameters[i].sizes().vec());
    }
    for (const auto& [kind, name] : EnumNames<OptimizerKind>::values) {
      EXPECT_EQ(optimizer_bytes(kind, facts.shapes, 4),
                Optimizer(parameters, {.kind = kind}).state_bytes())
          << name;
    }
  }
}

std::string commas(int64_t count) {
  std::string text = std::to_string(count);
  for (auto at = static_cast<int64_t>(text.size()) - 3; at > 0; at -= 3)
    text.insert(static_cast<size_t>(at), ",");
  return text;
}

SftSetup sft_setup(const LoraConfig& lora = {}) {
  SftSetup setup;
  setup.lora = lora;
  setup.sft.per_device_train_batch_size = 4;
  setup.sft.micro_batch_tokens = 64;
  return setup;
}

TEST(PlanTrained, CountsAreThoseOfTheLineThatARunPrints) {
  const TinyOptions options{.tie_word_embeddings = false, .qkv_bias = true};
  const auto decoder = tiny_decoder(at::kFloat, options);
  for (const LoraConfig& config : adapters()) {
    const Plan plan = plan_of(sft_setup(config), facts_of(tiny_checkpoint(options)), {});
    EXPECT_THAT(trainable_parameters_line(adapter_of(config, *decoder), decoder->num_parameters()),
                HasSubstr("trainable params: " + commas(plan.trainable_parameters) +
                          " || all params: " + commas(plan.all_parameters) + " ||"));
  }
}

// One rank of several that only counts what it is given.
class CountingCommunicator final : public Communicator {
 public:
  explicit CountingCommunicator(int64_t size) : size_(size) {}
  int64_t rank() const override { return 0; }
  int64_t size() const override { return size_; }
  std::unique_ptr<PendingSums> start_all_reduce(const std::vector<at::Tensor>& tensors) override {
    for (const at::Tensor& tensor : tensors) reduced += static_cast<int64_t>(tensor.nbytes());
    struct Nothing final : PendingSums {
      void wait() override {}
    };
    return std::make_unique<Nothing>();
  }
  std::vector<std::string> all_gather(const std::string& bytes) override {
    gathered += static_cast<int64_t>(bytes.size());
    return {bytes};
  }
  void report_failure(const std::exception&) noexcept override {}
  int64_t reduced = 0, gathered = 0;

 private:
  int64_t size_;
};

TEST(PlanTransfers, GradientsAreWhatAnOptimizerStepReduces) {
  const auto decoder = tiny_decoder();
  const Adapter adapter = adapter_of({}, *decoder);
  CountingCommunicator communicator(4);
  (void)sum_over_ranks(communicator, adapter.parameters(), SftSums{});
  const Plan plan = plan_of(sft_setup(), facts_of(tiny_checkpoint()), {.ranks = 4});
  EXPECT_EQ(plan.transfers[0].message_bytes, communicator.reduced);
  // A ring: each rank passes 1/4 on three times for the sums, three times for the results.
  EXPECT_DOUBLE_EQ(plan.transfers[0].sent_bytes, 1.5 * static_cast<double>(communicator.reduced));
}

PpoSetup ppo_setup() {
  PpoSetup setup;
  setup.reward = {{.name = "length"}};
  setup.data.max_prompt_length = 20;
  setup.rollout.response_length = 12;
  setup.ppo.batch_size = 8;
  setup.ppo.num_mini_batches = 2;
  setup.ppo.micro_batch_tokens = 70;
  return setup;
}

// An answer of 12 tokens to a prompt of 20; the doubles are none of float32's.
JudgedAnswer judged_answer() {
  const std::vector<double> numbers(12, 0.1), narrow(12, 0.5);
  JudgedAnswer judged;
  judged.answer.prompt_ids.assign(20, 300);
  judged.answer.token_ids.assign(12, 300);
  judged.answer.logprobs = judged.answer.behaviour_logprobs = judged.answer.entropies = numbers;
  judged.answer.values = judged.values = judged.reference_logprobs = narrow;
  judged.answer.text = std::string(48, 'x');
  judged.score = 0.1;
  return judged;
}

TEST(PlanTransfers, LogProbsThatAreComputedAgainTravelToo) {
  CountingCommunicator communicator(2);
  JudgedAnswer judged = judged_answer();
  judged.policy_logprobs = judged.reference_logprobs;
  (void)gather(communicator, std::vector<JudgedAnswer>(4, judged));
  PpoSetup setup = ppo_setup();
  setup.ppo.recompute_logprobs = true;
  const Plan plan = plan_of(setup, facts_of(tiny_checkpoint()), {.ranks = 2});
  EXPECT_NEAR(static_cast<double>(plan.transfers[1].message_bytes) /
                  static_cast<double>(communicator.gathered),
              1.0, 0.05);
  EXPECT_GT(
      plan.transfers[1].message_bytes,
      plan_of(ppo_setup(), facts_of(tiny_checkpoint()), {.ranks = 2}).transfers[1].message_bytes);
}

TEST(PlanTransfers, AnswersAreWhatRanksGather) {
  CountingCommunicator communicator(2);
  (void)gather(communicator, std::vector<JudgedAnswer>(4, judged_answer()));
  const Plan plan = plan_of(ppo_setup(), facts_of(tiny_checkpoint()), {.ranks = 2});
  const PlanTransfer& answers = plan.transfers[1];
  EXPECT_NEAR(
      static_cast<double>(answers.message_bytes) / static_cast<double>(communicator.gathered), 1.0,
      0.05)
      << communicator.gathered;
  EXPECT_EQ(plan.transfers[0].calls, 8);  // 4 epochs of 2 minibatches
  const Plan more = plan_of(ppo_setup(), facts_of(tiny_checkpoint()), {.ranks = 8});
  EXPECT_EQ(more.transfers[1].message_bytes, answers.message_bytes / 4);  // one answer each
  EXPECT_DOUBLE_EQ(more.transfers[1].sent_bytes,
                   7.0 * static_cast<double>(more.transfers[1].message_bytes + 8));
}

int64_t bytes_of(const std::vector<PlanItem>& items, const std::string& name) {
  for (const PlanItem& item : items) {
    if (item.name == name) return item.bytes;
  }
  ADD_FAILURE() << "no item " << name;
  return -1;
}

const PlanPhase& phase_of(const Plan& plan, const std::string& name) {
  const auto found =
      std::ranges::find_if(plan.phases, [&](const auto& phase) { return phase.name == name; });
  EXPECT_NE(found, plan.phases.end()) << name;
  return found == plan.phases.end() ? plan.phases.front() : *found;
}

// Adapter of q and v: 2 layers of 8 (32 + 32) and 8 (32 + 16) numbers.
constexpr int64_t kAdapterNumbers = 2 * (8 * 64 + 8 * 48);

TEST(PlanPpo, RolesByHand) {
  const ModelFacts model = facts_of(tiny_checkpoint());
  const Plan shared = plan_of(ppo_setup(), model, {});
  EXPECT_EQ(bytes_of(shared.resident, "base"), 4 * num_parameters(model));
  EXPECT_EQ(bytes_of(shared.resident, "policy: adapter"), 4 * kAdapterNumbers);
  EXPECT_EQ(bytes_of(shared.resident, "policy: gradients"), 4 * kAdapterNumbers);
  EXPECT_EQ(bytes_of(shared.resident, "policy: optimizer"), 8 * kAdapterNumbers + 8 * 8);
  EXPECT_EQ(bytes_of(shared.resident, "reference"), 0);
  EXPECT_EQ(bytes_of(shared.resident, "critic: head and adapter"), 4 * 32);
  EXPECT_EQ(bytes_of(shared.resident, "critic: optimizer"), 8 * 32 + 8);

  PpoSetup setup = ppo_setup();
  setup.critic.kind = CriticKind::separate;
  setup.critic.train = CriticTrain::all;
  const Plan separate = plan_of(setup, model, {});
  EXPECT_EQ(bytes_of(separate.resident, "critic: model"), 4 * num_parameters(model));
  EXPECT_EQ(bytes_of(separate.resident, "critic: copy of all weights, head"),
            4 * (num_parameters(model) + 32));
  EXPECT_TRUE(std::ranges::none_of(phase_of(separate, "update").items, [](const PlanItem& item) {
    return item.name == "states that the critic's head reads";
  }));

  setup.critic.train = CriticTrain::head;
  const Plan frozen = plan_of(setup, model, {});
  for (const char* phase : {"scoring", "update"}) {
    EXPECT_EQ(bytes_of(phase_of(frozen, phase).items, "states that the critic's head reads"),
              setup.ppo.batch_size * setup.rollout.response_length * 32 * 4)
        << phase;
  }
}

// 8 answers: a cache of 31 rows (the last token is never read); passes of 70 tokens hold whole
// texts of 31.
TEST(PlanPpo, PhasesByHand) {
  const ModelFacts model = facts_of(tiny_checkpoint());
  const Plan plan = plan_of(ppo_setup(), model, {});
  EXPECT_EQ(bytes_of(phase_of(plan, "rollout").items, "cache of keys and values"),
            2 * 2 * 8 * 2 * 31 * 8 * 4);
  EXPECT_EQ(plan.micro_batch_rows, 70);
  EXPECT_EQ(plan_of(ppo_setup(), model, {.ranks = 8}).micro_batch_rows, 31);
  EXPECT_EQ(plan_of(ppo_setup(), model, {.longest = 4}).micro_batch_rows, 4 * 15);
  const PassShape pass{.rows = 70};
  const AdapterFacts adapter = adapter_facts({}, model.modules);
  EXPECT_EQ(
      bytes_of(phase_of(plan, "update").items, "activations kept for the policy's backward pass"),
      kept_bytes(model, at::kFloat, &adapter, pass));
  EXPECT_EQ(plan.peak_bytes(), plan.resident_bytes() + plan.largest().bytes());
}

TEST(PlanPpo, AShardedBaseShrinksWithTheRanks) {
  const ModelFacts model = facts_of(tiny_checkpoint());
  PpoSetup setup = ppo_setup();
  setup.run.fsdp = Fsdp::full_shard;
  const std::string all = "gathered: all of it", two = "gathered: a block in use, and the next";
  for (const int64_t ranks : {1, 2, 4}) {
    const ShardedBytes bytes = sharded_bytes(model, at::kFloat, ranks);
    EXPECT_NEAR(static_cast<double>(bytes.held),
                4.0 * static_cast<double>(num_parameters(model)) / static_cast<double>(ranks), 700);
    setup.run.gather_for_generation = true;
    Plan plan = plan_of(setup, model, {.ranks = ranks});
    EXPECT_EQ(bytes_of(plan.resident, "base"), bytes.held);
    EXPECT_EQ(bytes_of(phase_of(plan, "rollout").items, all), bytes.all);
    EXPECT_EQ(bytes_of(phase_of(plan, "scoring").items, all), bytes.all);
    EXPECT_EQ(bytes_of(phase_of(plan, "update").items, two), bytes.in_use);
    const double once = plan.sent_bytes();
    setup.run.gather_for_generation = false;
    plan = plan_of(setup, model, {.ranks = ranks});
    EXPECT_EQ(bytes_of(phase_of(plan, "rollout").items, two), bytes.in_use);
    if (ranks > 1) {
      EXPECT_GT(plan.sent_bytes(), once);
    }
  }
}

TEST(PlanPpo, LanesOneAfterTheOtherNeedTheLargestAlone) {
  const ModelFacts model = facts_of(tiny_checkpoint());
  PpoSetup setup = ppo_setup();
  setup.critic.kind = CriticKind::adapter;
  const int64_t together = phase_of(plan_of(setup, model, {}), "scoring").bytes();
  setup.lanes.concurrent = false;
  const int64_t alone = phase_of(plan_of(setup, model, {}), "scoring").bytes();
  EXPECT_LT(alone, together);
  EXPECT_GE(2 * alone, together);
}

TEST(PlanReward, TheHeadTrainsAndCountsOnTop) {
  const ModelFacts model = facts_of(tiny_checkpoint());
  RewardSetup setup;
  setup.data.max_length = 16;
  const Plan plan = plan_of(setup, model, {});
  EXPECT_EQ(plan.trainable_parameters, kAdapterNumbers + 32);
  EXPECT_EQ(plan.all_parameters, num_parameters(model) + kAdapterNumbers + 32);
}

TEST(PlanFit, LayersFillTheMemory) {
  const ModelFacts model = facts_of(tiny_checkpoint());
  const auto plan = [&](const ModelFacts& other) { return plan_of(ppo_setup(), other, {}); };
  const int64_t memory = plan(model).peak_bytes();
  const Fit exact = fit_into(memory, model, false, plan);
  EXPECT_TRUE(exact.fits);
  EXPECT_EQ(exact.layers, model.config.num_layers);
  const Fit less = fit_into(memory - 1, model, false, plan);
  EXPECT_FALSE(less.fits);
  EXPECT_EQ(less.layers, model.config.num_layers - 1);
  EXPECT_FALSE(less.known.has_value());
  const Fit large = fit_into(int64_t{16} << 30, model, false, plan);
  EXPECT_EQ(large.known, "Llama-3.2-3B");
}

}  // namespace
}  // namespace leash

// A PPO iteration, its update phase alone, and a supervised step: the work of DESIGN.md's table.
#include <fmt/format.h>

#include <cmath>
#include <numeric>

#include "experiments/bench/harness.h"
#include "rl/policy/experience.h"
#include "rl/ppo/critic.h"
#include "rl/ppo/shape.h"
#include "rl/ppo/update.h"
#include "rl/sft/update.h"
#include "rollout/scoring.h"

namespace leash::bench {
namespace {

constexpr int64_t kBatch = 16, kPrompt = 32, kNew = 64, kEpochs = 4;

// 0 … 1, evenly spread and shuffled, the same in peers/ppo.py.
double spread(int64_t i) { return static_cast<double>((i * 7) % kBatch) / (kBatch - 1); }

// Prompts of 8 to 128 tokens, answers of 8 to 64, long ones beside short ones.
std::vector<int64_t> ragged_prompts() {
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < kBatch; ++i) lengths.push_back(std::llround(8 + 120 * spread(i)));
  return lengths;
}
std::vector<int64_t> ragged_answers() {
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < kBatch; ++i) lengths.push_back(std::llround(8 + 56 * spread(3 * i + 5)));
  return lengths;
}

// A sequence-classification model of the policy's size: weights of its own, or an adapter on the
// policy's base.
class FullSizeReward final : public RewardSource {
 public:
  FullSizeReward(std::shared_ptr<const Decoder> decoder, std::optional<Adapter> adapter)
      : decoder_(std::move(decoder)),
        adapter_(std::move(adapter)),
        head_(LinearHead::zeros(decoder_->config().hidden_size).to(decoder_->device())) {
    head_.weight.fill_(0.01);
  }
  std::vector<double> score(const std::vector<RewardSample>& samples) const override {
    std::vector<std::vector<int64_t>> sequences;
    for (const RewardSample& sample : samples) {
      sequences.push_back(sample.prompt_ids);
      sequences.back().insert(sequences.back().end(), sample.token_ids.begin(),
                              sample.token_ids.end());
    }
    const at::Tensor scores =
        score_sequences(*decoder_, adapter_ ? &*adapter_ : nullptr, head_, sequences);
    const float* data = scores.const_data_ptr<float>();
    return {data, data + scores.numel()};
  }

 private:
  std::shared_ptr<const Decoder> decoder_;
  std::optional<Adapter> adapter_;
  LinearHead head_;
};

PpoSetup ppo_setup(const Options& options, const std::string& work) {
  PpoSetup setup;
  setup.model.path.name = options.model;
  setup.model.quantize = options.quantize;
  setup.model.dtype = options.dtype;
  setup.devices.policy = options.device;
  setup.lora.r = 16;
  setup.lora.lora_alpha = 32;
  setup.lora.target_modules = std::vector<std::string>{"q_proj", "k_proj", "v_proj", "o_proj"};
  setup.reward = {RewardConfig{.name = "distinct_words", .words = {"any"}}};  // replaced below
  setup.rollout.temperature = 0.7;
  setup.rollout.response_length = kNew;
  setup.rollout.stop_token.reset();
  setup.ppo.batch_size = kBatch;
  setup.ppo.num_mini_batches = 1;
  setup.ppo.num_ppo_epochs = kEpochs;
  if (options.micro_batch_tokens > 0) setup.ppo.micro_batch_tokens = options.micro_batch_tokens;
  setup.critic.kind = work.starts_with("shared") ? CriticKind::shared : CriticKind::separate;
  if (work == "separate-head") setup.critic.train = CriticTrain::head;
  if (work == "separate-lora") setup.critic.train = CriticTrain::lora;
  if (work == "separate-all") setup.critic.train = CriticTrain::all;
  return setup;
}

// One iteration as PpoTrainer::iterate does it, without its files.
class Iteration {
 public:
  Iteration(const Options& options, const std::string& work)
      : setup_(ppo_setup(options, work)),
        roles_(load_ppo_roles(setup_)),
        optimizers_(setup_.ppo, roles_),
        lanes_(setup_.lanes, std::nullopt, 0, setup_.devices.streams()),
        engine_(roles_.decoder, std::nullopt),
        ragged_(work == "shared-ragged") {
    if (work == "shared-adapter-reward") {
      roles_.reward =
          std::make_unique<FullSizeReward>(roles_.decoder, bench_adapter(*roles_.decoder));
    } else {
      roles_.reward = std::make_unique<FullSizeReward>(load_decoder(options), std::nullopt);
    }
  }

  Experience sample(int64_t step) {
    auto ids = random_ids(kBatch, ragged_ ? 128 : kPrompt, static_cast<uint64_t>(step));
    const std::vector<int64_t> answer_lengths = ragged_answers();
    RolloutEngine::Callbacks callbacks;
    std::vector<int64_t> drawn(kBatch);
    if (ragged_) {
      const std::vector<int64_t> lengths = ragged_prompts();
      for (size_t i = 0; i < ids.size(); ++i) ids[i].resize(static_cast<size_t>(lengths[i]));
      callbacks.on_token = [&](int64_t prompt, int64_t) {
        const auto i = static_cast<size_t>(prompt);
        return ++drawn[i] < answer_lengths[i];
      };
    }
    std::vector<PromptRecord> records(kBatch);
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < kBatch; ++i) rows.push_back(i);
    GenerationConfig generation = fixed_length(kNew);
    generation.step = static_cast<uint64_t>(step);
    Stopwatch clock;
    Judging judging(records, rows, setup_, setup_.ppo, roles_, lanes_);
    callbacks.on_finished = [&judging](const Completion& answer) { judging.add(answer); };
    lanes_[Role::actor]
        .run([&] {
          engine_.generate(prompts_of(ids), &roles_.policy, generation, roles_.value_head(),
                           callbacks);
        })
        .get();
    sampling_seconds = clock.lap();
    Experience experience = assemble(judging.finish(), setup_.ppo.missing_eos_penalty);
    shape(experience, setup_.ppo, setup_.ppo.kl_coef);
    scoring_seconds = clock.lap();
    tokens = experience.mask.sum().item<int64_t>();
    return experience;
  }

  void learn(Experience& experience, int64_t step) {
    Stopwatch clock;
    update(experience, step, {.policy = 1e-5, .critic = 1e-5}, ppo_update_rules(setup_),
           {roles_, optimizers_, *communicator_});
    update_seconds = clock.lap();
  }

  const Decoder& decoder() const { return *roles_.decoder; }
  const DecoderConfig& model() const { return decoder().config(); }
  double sampling_seconds = 0, scoring_seconds = 0, update_seconds = 0;
  int64_t tokens = 0;

 private:
  PpoSetup setup_;
  PolicyRoles roles_;
  PolicyOptimizers optimizers_;
  Lanes lanes_;
  RolloutEngine engine_;
  bool ragged_ = false;
  std::unique_ptr<Communicator> communicator_ = single_communicator();
};

double linear_weights(const DecoderConfig& c) {
  const int64_t qkv = c.hidden_size * (c.num_heads + 2 * c.num_kv_heads) * c.head_dim;
  const int64_t output = c.num_heads * c.head_dim * c.hidden_size;
  return static_cast<double>(c.num_layers *
                             (qkv + output + 3 * c.hidden_size * c.intermediate_size));
}

// Floating-point operations of one epoch that the result needs: forward and input gradients of the
// frozen products, the vocabulary only where a token was sampled, attention's causal half; neither
// recomputation nor the adapters (2 %) are counted.
double useful_flop(const DecoderConfig& c) {
  const double rows = kBatch * (kPrompt + kNew - 1);
  const double length = kPrompt + kNew - 1;
  const double products = 2 * linear_weights(c) * rows;
  const double vocabulary = 2.0 * static_cast<double>(c.vocab_size * c.hidden_size) * kBatch * kNew;
  const double attention = 4 * static_cast<double>(c.num_heads * c.head_dim * c.num_layers) *
                           kBatch * length * length / 2;
  return 2 * (products + vocabulary) + 3 * attention;
}

}  // namespace

std::vector<Row> run_ppo(const Options& options, const std::string& work) {
  Iteration iteration(options, work);
  const std::vector<int64_t> ragged = ragged_answers();
  const int64_t expected = work == "shared-ragged"
                               ? std::accumulate(ragged.begin(), ragged.end(), int64_t{0})
                               : kBatch * kNew;
  std::vector<double> sampling, scoring, updating, whole;
  for (int64_t step = 1; step <= options.repeats; ++step) {
    Experience experience = iteration.sample(step);
    TORCH_CHECK(iteration.tokens == expected, iteration.tokens, " tokens, not ", expected);
    iteration.learn(experience, step);
    sampling.push_back(iteration.sampling_seconds);
    scoring.push_back(iteration.scoring_seconds);
    updating.push_back(iteration.update_seconds);
    whole.push_back(sampling.back() + scoring.back() + updating.back());
  }
  const std::string name = "ppo-" + work;
  return {{name, median(whole), "s"},
          {name + "-sampling", median(sampling), "s"},
          {name + "-scoring", median(scoring), "s"},
          {name + "-update", median(updating), "s"},
          {name + "-tokens", static_cast<double>(iteration.tokens), "tokens"},
          {name + "-optimizer-steps", static_cast<double>(kEpochs), "steps"}};
}

std::vector<Row> run_update(const Options& options) {
  Iteration iteration(options, "shared");
  Experience experience = iteration.sample(1);
  const DecoderConfig& c = iteration.model();
  const int64_t rows = kBatch * (kPrompt + kNew - 1);
  const at::TensorOptions like =
      at::TensorOptions(iteration.decoder().dtype()).device(iteration.decoder().device());
  // The peaks, LibTorch's and ours, are measured beside each update, since a shared machine's
  // change within minutes.
  std::vector<double> seconds, rates, peaks, ratios, own_peaks, own_ratios;
  for (int64_t run = 0; run <= options.repeats; ++run) {
    iteration.learn(experience, run + 1);
    if (run == 0) continue;
    seconds.push_back(iteration.update_seconds / kEpochs);
    rates.push_back(useful_flop(c) / seconds.back() / 1e9);
    peaks.push_back(matmul_gflops(rows, c.hidden_size, 2 * c.intermediate_size, like));
    ratios.push_back(rates.back() / peaks.back());
    own_peaks.push_back(product_gflops(rows, c.hidden_size, 2 * c.intermediate_size, like));
    own_ratios.push_back(rates.back() / own_peaks.back());
  }
  return {{"update-epoch", median(seconds), "s"},
          {"update-useful", median(rates), "GFLOP/s"},
          {"update-peak", median(peaks), "GFLOP/s"},
          {"update-of-peak", median(ratios), "ratio"},
          {"update-own-peak", median(own_peaks), "GFLOP/s"},
          {"update-of-own-peak", median(own_ratios), "ratio"}};
}

namespace {

// 20 to 400 tokens, evenly spread; the same numbers stand in peers/sft.py.
std::vector<int64_t> ragged_lengths(int64_t count) {
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < count; ++i) lengths.push_back(20 + 380 * ((i * 7) % count) / (count - 1));
  return lengths;
}

std::vector<SftSample> samples_of(const std::vector<int64_t>& lengths, uint64_t seed) {
  std::vector<SftSample> samples;
  for (size_t i = 0; i < lengths.size(); ++i) {
    SftSample sample;
    sample.id = i;
    sample.ids = random_ids(1, lengths[i], seed * 1000 + i)[0];
    sample.trained.assign(sample.ids.size(), 1);
    sample.trained[0] = 0;
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace

std::vector<Row> run_supervised(const Options& options, const std::string& texts,
                                bool checkpointing) {
  constexpr int64_t kSequences = 8;
  const std::vector<int64_t> lengths =
      texts == "ragged" ? ragged_lengths(kSequences) : std::vector<int64_t>(kSequences, 256);
  SftSetup setup;
  setup.model.dtype = options.dtype;
  setup.model.gradient_checkpointing = checkpointing;
  if (options.micro_batch_tokens > 0) setup.sft.micro_batch_tokens = options.micro_batch_tokens;
  const auto decoder = load_decoder(options);
  const Adapter adapter = bench_adapter(*decoder);
  AdamW optimizer(adapter.parameters(), {});
  const double tokens = std::accumulate(lengths.begin(), lengths.end(), 0.0);
  std::vector<double> rates;
  for (int64_t run = 0; run <= options.repeats; ++run) {
    const std::vector<SftSample> samples = samples_of(lengths, static_cast<uint64_t>(run));
    std::vector<const SftSample*> refs;
    for (const SftSample& sample : samples) refs.push_back(&sample);
    Stopwatch clock;
    accumulate_gradients(refs, run, setup, {*decoder, adapter}, *single_communicator());
    clip_grad_norm(optimizer.parameters(), 1.0);
    optimizer.step(2.5e-4);
    optimizer.zero_grad();
    if (run > 0) rates.push_back(tokens / clock.lap());
  }
  const std::string name = "supervised-" + texts + (checkpointing ? "-checkpointed" : "");
  return {{name, median(rates), "tok/s"}, {name + "-tokens", tokens, "tokens"}};
}

}  // namespace leash::bench

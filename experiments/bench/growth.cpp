// How time grows with batch, length and vocabulary: seconds at 1, 2, 4, … times a size, and the
// exponent.
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <fmt/format.h>

#include <cmath>
#include <functional>

#include "experiments/bench/harness.h"
#include "models/vocabulary/vocabulary.h"
#include "models/weights/packed_weight.h"
#include "rl/sft/update.h"
#include "rollout/scoring.h"

namespace leash::bench {
namespace {

// Median seconds at every size, and the slope of log seconds over log size (least squares).
std::vector<Row> growth(const std::string& name, const std::vector<int64_t>& sizes, int64_t repeats,
                        const std::function<void(int64_t size)>& work) {
  std::vector<Row> rows;
  double x = 0, y = 0, xx = 0, xy = 0;
  for (const int64_t size : sizes) {
    std::vector<double> seconds;
    for (int64_t run = 0; run <= repeats; ++run) {
      Stopwatch clock;
      work(size);
      if (run > 0) seconds.push_back(clock.lap());
    }
    rows.push_back({fmt::format("{}-{}", name, size), median(seconds), "s"});
    const double log_size = std::log(static_cast<double>(size));
    const double log_seconds = std::log(median(seconds));
    x += log_size, y += log_seconds, xx += log_size * log_size, xy += log_size * log_seconds;
  }
  const auto n = static_cast<double>(sizes.size());
  rows.push_back({name + "-exponent", (n * xy - x * y) / (n * xx - x * x), "exponent"});
  return rows;
}

}  // namespace

std::vector<Row> run_growth(const Options& options, const std::string& what) {
  const std::string name = "growth-" + what;
  if (what == "vocabulary") {
    constexpr int64_t kRows = 256, kHidden = 576;
    const at::Tensor hidden = at::randn({kRows, kHidden}, at::kFloat);
    return growth(name, {6144, 12288, 24576, 49152, 98304, 196608}, options.repeats,
                  [&](int64_t size) {
                    static at::Tensor weight;
                    if (!weight.defined() || weight.size(0) != size) {
                      weight = at::randn({size, kHidden}, at::kFloat).mul_(0.05);
                    }
                    VocabularyHead head;
                    head.weight = packed_weight(weight);
                    head.parts = {{.module = 0, .num_columns = size}};
                    const at::Tensor targets = at::randint(size, {kRows}, at::kLong);
                    at::Tensor input = hidden.detach().requires_grad_();
                    vocabulary_scores(input, head, targets, 1.0, {}).logprobs.sum().backward();
                  });
  }
  const auto decoder = load_decoder(options);
  if (what == "batch") {
    const RolloutEngine engine(decoder, std::nullopt);
    return growth(name, {1, 2, 4, 8, 16, 32, 64}, options.repeats, [&](int64_t size) {
      engine.generate(prompts_of(random_ids(size, 32)), nullptr, fixed_length(32));
    });
  }
  if (what == "answer") {
    const RolloutEngine engine(decoder, std::nullopt);
    return growth(name, {32, 64, 128, 256, 512, 1024}, options.repeats, [&](int64_t size) {
      engine.generate(prompts_of(random_ids(8, 32)), nullptr, fixed_length(size));
    });
  }
  if (what == "length") {
    return growth(name, {64, 128, 256, 512, 1024, 2048}, options.repeats, [&](int64_t size) {
      std::vector<ScoredText> texts;
      for (auto& ids : random_ids(2, size)) texts.push_back({.ids = std::move(ids)});
      score_texts(*decoder, nullptr, texts, {});
    });
  }
  TORCH_CHECK(what == "training", "no such growth: ", what);
  const Adapter adapter = bench_adapter(*decoder);
  return growth(name, {64, 128, 256, 512, 1024, 2048}, options.repeats, [&](int64_t size) {
    SftSample sample;
    sample.ids = random_ids(1, size)[0];
    sample.trained.assign(sample.ids.size(), 1);
    sample.trained[0] = 0;
    const std::vector<const SftSample*> samples{&sample};
    accumulate_gradients(samples, 0, SftSetup{}, {*decoder, adapter}, *single_communicator());
  });
}

}  // namespace leash::bench

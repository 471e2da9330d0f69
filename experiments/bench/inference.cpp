// Decoding, prefill, sampling and scoring.
#include <fmt/format.h>

#include "experiments/bench/harness.h"
#include "rollout/scoring.h"

namespace leash::bench {

std::vector<Row> run_decode(const Options& options, int64_t sequences, bool with_adapter) {
  constexpr int64_t kPrompt = 32, kNew = 64;
  const auto decoder = load_decoder(options);
  const Adapter adapter = bench_adapter(*decoder);
  const RolloutEngine engine(decoder, std::nullopt);
  const auto prompts = prompts_of(random_ids(sequences, kPrompt));
  GenerationConfig generation = fixed_length(kNew);
  generation.record_steps = options.record_steps;
  generation.max_batch = sequences;
  std::vector<double> decode, prefill, whole;
  for (int64_t run = 0; run <= options.repeats; ++run) {
    Stopwatch clock;
    double first = 0;
    int64_t tokens = 0;
    RolloutEngine::Callbacks callbacks;
    callbacks.on_token = [&](int64_t, int64_t) {
      if (++tokens == sequences) first = clock.lap();
      return true;
    };
    engine.generate(prompts, with_adapter ? &adapter : nullptr, generation, nullptr, callbacks);
    const double rest = clock.lap();
    TORCH_CHECK(tokens == sequences * kNew, "an answer ended early");
    if (run == 0) continue;
    prefill.push_back(static_cast<double>(sequences * kPrompt) / first);
    decode.push_back(static_cast<double>(sequences * (kNew - 1)) / rest);
    whole.push_back(static_cast<double>(sequences * kNew) / (first + rest));
  }
  const std::string suffix = with_adapter ? "-lora" : "";
  return {{fmt::format("decode-{}{}", sequences, suffix), median(decode), "tok/s"},
          {fmt::format("prefill-{}x32{}", sequences, suffix), median(prefill), "tok/s"},
          {fmt::format("sampling-{}x64{}", sequences, suffix), median(whole), "tok/s"}};
}

std::vector<Row> run_score(const Options& options) {
  constexpr int64_t kSequences = 16, kLength = 96, kAnswer = 64;
  const auto decoder = load_decoder(options);
  std::vector<ScoredText> texts;
  for (auto& ids : random_ids(kSequences, kLength)) {
    texts.push_back({.ids = std::move(ids), .answer_begin = kLength - kAnswer});
  }
  std::vector<double> rates;
  for (int64_t run = 0; run <= options.repeats; ++run) {
    Stopwatch clock;
    score_texts(*decoder, nullptr, texts, {.temperature = 0.7});
    if (run > 0) rates.push_back(static_cast<double>(kSequences * kLength) / clock.lap());
  }
  return {{"score-16x96", median(rates), "tok/s"}};
}

}  // namespace leash::bench

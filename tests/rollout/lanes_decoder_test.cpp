// Policy and reference on one decoder, at once and alone: bit for bit the same.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "rollout/engine.h"
#include "rollout/lanes.h"
#include "rollout/scoring.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

std::vector<ScoredText> six_texts() {
  std::vector<ScoredText> texts(6);
  for (uint64_t t = 0; t < texts.size(); ++t) {
    for (uint64_t i = 0; i < 5 + 7 * t; ++i) {
      texts[t].ids.push_back(draw_bits({t, Purpose::noise}, i) % 96);
    }
  }
  return texts;
}

std::vector<Prompt> prompts() {
  std::vector<Prompt> prompts;
  for (const ScoredText& text : six_texts()) prompts.push_back({text.ids, prompts.size()});
  return prompts;
}

void expect_equal(const std::vector<TextScores>& a, const std::vector<TextScores>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].logprobs, b[i].logprobs);
    EXPECT_EQ(a[i].entropies, b[i].entropies);
  }
}

// All that a PPO iteration does at once, on lanes.
struct Results {
  std::vector<TextScores> policy, reference;
  std::vector<Completion> completions;
};
Results run(const LanesConfig& config, const std::shared_ptr<const Decoder>& decoder,
            const Adapter& adapter, int delay) {
  Lanes lanes(config);
  const RolloutEngine engine(decoder, std::nullopt);
  const auto wait = [](int microseconds) {
    std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
  };
  auto policy = lanes[Role::actor].run([&] {
    wait(delay);
    return score_texts(*decoder, &adapter, six_texts());
  });
  auto reference = lanes[Role::reference].run([&] {
    wait(700 - delay);
    return score_texts(*decoder, nullptr, six_texts());
  });
  auto completions = lanes[Role::critic].run(
      [&] { return engine.generate(prompts(), &adapter, {.max_new_tokens = 6, .seed = 3}); });
  return {policy.get(), reference.get(), completions.get()};
}

void expect_equal(const Results& a, const Results& b) {
  expect_equal(a.policy, b.policy);
  expect_equal(a.reference, b.reference);
  ASSERT_EQ(a.completions.size(), b.completions.size());
  for (size_t i = 0; i < a.completions.size(); ++i) {
    EXPECT_EQ(a.completions[i].token_ids, b.completions[i].token_ids);
    EXPECT_EQ(a.completions[i].logprobs, b.completions[i].logprobs);
  }
}

TEST(ThreadsDecoder, PolicyAndReferenceDoNotDisturbEachOther) {
  const auto decoder = testing::tiny_decoder();
  const Adapter adapter = testing::tiny_adapter(*decoder);
  const Results alone =
      run({.concurrent = false, .threads_per_lane = 1}, decoder, adapter, /*delay=*/0);
  EXPECT_NE(alone.policy[2].logprobs, alone.reference[2].logprobs);
  for (const int delay : {0, 100, 350, 600, 700}) {
    expect_equal(run({.concurrent = true, .threads_per_lane = 1}, decoder, adapter, delay), alone);
  }
}

TEST(LanesDecoder, EqualThreadsMeanEqualBits) {
  // Wide enough that operations really use their threads.
  testing::TinyOptions options;
  options.hidden_size = 256;
  options.head_dim = 64;
  const auto decoder = testing::tiny_decoder(at::kFloat, options);
  const Adapter adapter = testing::tiny_adapter(*decoder);
  for (const int64_t threads : {1, 2}) {
    const Results alone =
        run({.concurrent = false, .threads_per_lane = threads}, decoder, adapter, 0);
    for (int round = 0; round < 3; ++round) {
      expect_equal(run({.concurrent = true, .threads_per_lane = threads}, decoder, adapter, 300),
                   alone);
    }
  }
}

}  // namespace
}  // namespace leash

// Rollout and scoring on a device that is not the CPU.
#include "tests/support/pretend_device.h"

#include <gtest/gtest.h>

#include "models/device/device.h"
#include "models/weights/gather_queue.h"
#include "rollout/decode_step.h"
#include "rollout/engine.h"
#include "rollout/scoring.h"
#include "tests/rollout/texts.h"
#include "tests/support/gathering_ranks.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using testing::pretend_device;
using testing::random_ids;
using testing::tiny_adapter;
using testing::tiny_checkpoint;

void expect_near(const std::vector<double>& a, const std::vector<double>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-4);
}

class PretendRollout : public ::testing::Test {
 protected:
  std::shared_ptr<const Decoder> here = Decoder::load(tiny_checkpoint());
  std::shared_ptr<const Decoder> there =
      Decoder::load(tiny_checkpoint(), {.device = pretend_device()});
  Adapter adapter_here = tiny_adapter(*here);
  Adapter adapter_there = adapter_here.to(pretend_device());
  LinearHead head = testing::value_head();
};

// Prompts of unequal lengths, two of them equal, more than there are slots; with and without a
// prefix that all of them share.
TEST_F(PretendRollout, ASampledRolloutIsTheCpus) {
  for (const int64_t prefix : {0, 12}) {
    std::vector<Prompt> prompts;
    for (uint64_t i = 0; i < 7; ++i) {
      std::vector<int64_t> ids = random_ids(77, prefix);
      for (const int64_t id : random_ids(i == 5 ? 2 : i, 3 + static_cast<int64_t>(i == 5 ? 2 : i)))
        ids.push_back(id);
      prompts.push_back({ids, 100 + i});
    }
    GenerationConfig config;
    config.sampling.temperature = 0.8;
    config.max_new_tokens = 14;
    config.eos_token_ids = {2, 40};
    config.seed = 9;
    config.max_batch = 3;
    const LinearHead moved = head.to(pretend_device());
    const auto a =
        RolloutEngine(here, std::nullopt).generate(prompts, &adapter_here, config, &head);
    const auto b =
        RolloutEngine(there, std::nullopt).generate(prompts, &adapter_there, config, &moved);
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i].token_ids, b[i].token_ids);
      EXPECT_EQ(a[i].stop, b[i].stop);
      expect_near(a[i].logprobs, b[i].logprobs);
      expect_near(a[i].entropies, b[i].entropies);
      expect_near(a[i].values, b[i].values);
    }
  }
}

// Steps of 16 and of 20 slots, of 256 and of more positions.
TEST_F(PretendRollout, StepsChangeTheirShape) {
  const testing::TinyOptions options{.max_positions = 320};
  here = Decoder::load(tiny_checkpoint(options));
  there = Decoder::load(tiny_checkpoint(options), {.device = pretend_device()});
  std::vector<Prompt> prompts;
  for (uint64_t i = 0; i < 24; ++i) prompts.push_back({random_ids(i, i == 3 ? 252 : 4), i});
  GenerationConfig config;
  config.sampling.temperature = 0.8;
  config.max_new_tokens = 9;
  config.eos_token_ids = {2, 40};
  config.max_batch = 20;
  const auto a = RolloutEngine(here, std::nullopt).generate(prompts, &adapter_here, config);
  const auto b = RolloutEngine(there, std::nullopt).generate(prompts, &adapter_there, config);
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].token_ids, b[i].token_ids);
    expect_near(a[i].logprobs, b[i].logprobs);
  }
}

// What is gathered for a use has no address that a recording could name.
TEST(DecodeSteps, OfAShardedDecoderAreNotRecorded) {
  const at::Device gpu(at::kCUDA, 1);
  EXPECT_TRUE(recordable(gpu, /*sharded=*/false));
  EXPECT_FALSE(recordable(gpu, /*sharded=*/true));
  EXPECT_FALSE(recordable(at::kCPU, false));
  EXPECT_FALSE(recordable(pretend_device(), false));
}

// Two ranks answer prompts of their own, one of them more and longer ones, with whole weights and
// with sharded ones.
TEST_F(PretendRollout, AShardedDecoderAnswersAsAWholeOne) {
  GenerationConfig config;
  config.sampling.temperature = 0.8;
  config.seed = 9;
  config.max_batch = 3;
  const auto answers_of = [&](const std::shared_ptr<const Decoder>& decoder, int64_t rank) {
    std::vector<Prompt> prompts;
    for (uint64_t i = 0; i < (rank == 0 ? 2 : 5); ++i) prompts.push_back({random_ids(i, 4), i});
    GenerationConfig own = config;
    own.max_new_tokens = rank == 0 ? 3 : 9;
    return RolloutEngine(decoder, std::nullopt).generate(prompts, &adapter_there, own);
  };
  testing::run_gathering_ranks(2, [&](int64_t rank, const std::shared_ptr<GatherQueue>& queue) {
    set_threads(1);
    const auto expected = answers_of(there, rank);
    const auto sharded =
        Decoder::load(tiny_checkpoint(), {.device = pretend_device(), .gathers = queue});
    for (const auto keep : {GatherQueue::Keep::all, GatherQueue::Keep::next}) {
      GatherScope scope(queue.get(), keep);
      const auto answers = answers_of(sharded, rank);
      scope.finish();
      ASSERT_EQ(answers.size(), expected.size());
      for (size_t i = 0; i < answers.size(); ++i) {
        EXPECT_EQ(answers[i].token_ids, expected[i].token_ids);
        EXPECT_EQ(answers[i].logprobs, expected[i].logprobs);
      }
    }
  });
}

std::vector<ScoredText> five_texts() {
  std::vector<ScoredText> result;
  for (uint64_t i = 0; i < 5; ++i) {
    result.push_back(
        {random_ids(30 + i, 4 + static_cast<int64_t>(i) * 3), 1 + static_cast<int64_t>(i)});
  }
  return result;
}

TEST_F(PretendRollout, ScoresAndValuesAreTheCpus) {
  const LinearHead moved = head.to(pretend_device());
  const auto a = score_texts(*here, &adapter_here, five_texts(),
                             {.temperature = 0.7, .micro_batch_tokens = 20, .value_head = &head});
  const auto b = score_texts(*there, &adapter_there, five_texts(),
                             {.temperature = 0.7, .micro_batch_tokens = 20, .value_head = &moved});
  const auto values = value_texts(*there, &adapter_there, moved, five_texts(), 20);
  for (size_t i = 0; i < a.size(); ++i) {
    expect_near(a[i].logprobs, b[i].logprobs);
    expect_near(a[i].entropies, b[i].entropies);
    expect_near(a[i].values, b[i].values);
    expect_near(a[i].values, values[i]);
  }
  std::vector<std::vector<int64_t>> whole;
  for (const ScoredText& text : five_texts()) whole.push_back(text.ids);
  const at::Tensor scores = score_sequences(*there, &adapter_there, moved, whole, 20);
  EXPECT_TRUE(scores.is_cpu());
  EXPECT_TRUE(
      testing::all_close(scores, score_sequences(*here, &adapter_here, head, whole, 20), 0, 1e-4));
}

TEST_F(PretendRollout, ExactKlBetweenDevices) {
  const auto expected = exact_kl_texts(*here, &adapter_here, nullptr, five_texts());
  const auto there_alone = exact_kl_texts(*there, &adapter_there, nullptr, five_texts());
  const auto policy_there = exact_kl_texts(*there, &adapter_there, *here, nullptr, five_texts());
  const auto reference_there = exact_kl_texts(*here, &adapter_here, *there, nullptr, five_texts());
  for (size_t i = 0; i < expected.size(); ++i) {
    expect_near(there_alone[i], expected[i]);
    expect_near(policy_there[i], expected[i]);
    expect_near(reference_there[i], expected[i]);
  }
}

}  // namespace
}  // namespace leash

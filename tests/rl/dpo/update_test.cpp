// The gradients of a step of DPO: against the loss written out over whole sequences, and unchanged
// by how the batch is cut, by what both answers share, and by where the reference comes from.
#include "rl/dpo/update.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/log_sigmoid.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "models/decoder/start_adapter.h"
#include "models/random/random.h"
#include "rollout/scoring.h"
#include "tests/rollout/tiny_tokenizer.h"
#include "tests/support/first_of_two.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using testing::all_close;
using testing::same_bits;
using testing::tiny_checkpoint;
using testing::tiny_decoder;

// Prompts of 3 to 15 tokens; answers of which some begin alike.
std::vector<PreferencePair> uneven_pairs() {
  std::vector<PreferencePair> result;
  for (int64_t i = 0; i < 5; ++i) {
    const int64_t prompt = 3 + 3 * i;
    PreferencePair pair{.common = prompt + (i == 4 ? 2 : 0),
                        .id = static_cast<uint64_t>(20 + i),
                        .prompt = i / 2,
                        .chosen_begin = prompt,
                        .rejected_begin = prompt};
    for (int64_t token = 0; token < pair.common; ++token) {
      pair.chosen.push_back((i * 31 + token * 17) % 96);
    }
    pair.rejected = pair.chosen;
    for (int64_t token = 0; token < 1 + i; ++token) pair.chosen.push_back((i + token * 7) % 48);
    for (int64_t token = 0; token < 4 - i % 3; ++token) {
      pair.rejected.push_back(48 + (i * 5 + token * 11) % 48);
    }
    result.push_back(std::move(pair));
  }
  return result;
}

struct DpoGradients {
  DpoSums sums;
  std::vector<at::Tensor> values;
};

class DpoUpdate : public ::testing::Test {
 protected:
  DpoUpdate()
      : policy{.model = {.checkpoint = tiny_checkpoint(),
                         .decoder = tiny_decoder(at::kDouble),
                         .tokenizer = testing::tiny_tokenizer(),
                         .adapter = adapter_of(3)},
               .reference = {}} {
    policy.reference.decoder = policy.model.decoder;
  }

  static Adapter adapter_of(uint64_t seed) {
    const auto decoder = tiny_decoder(at::kDouble);
    Adapter made = start_adapter(
        {.r = 4, .lora_alpha = 8, .lora_dropout = 0.3, .target_modules = "all-linear"}, *decoder,
        seed);
    for (size_t module = 0; module < decoder->modules().size(); ++module) {
      const LoraWeights* weights = made.lora(static_cast<int64_t>(module));
      if (weights == nullptr) continue;
      weights->b.detach().copy_(
          normal_tensor(DrawKey{seed, Purpose::noise, module, 1}, weights->b.sizes(), 0, 0.3));
    }
    return made;
  }
  DpoGradients gradients(const std::vector<JudgedPair>& batch, int64_t step = 1) const {
    for (at::Tensor parameter : policy.model.adapter.parameters()) parameter.mutable_grad().reset();
    DpoGradients result{
        .sums = accumulate_gradients(batch, step, setup, policy, *single_communicator()),
        .values = {}};
    for (const at::Tensor& parameter : policy.model.adapter.parameters()) {
      result.values.push_back(parameter.grad().clone());
    }
    return result;
  }
  static void expect_close(const DpoGradients& a, const DpoGradients& b, double relative) {
    EXPECT_NEAR(a.sums.loss, b.sums.loss, relative * std::abs(b.sums.loss));
    EXPECT_NEAR(a.sums.chosen_reward, b.sums.chosen_reward, relative);
    EXPECT_NEAR(a.sums.rejected_reward, b.sums.rejected_reward, relative);
    EXPECT_EQ(a.sums.correct, b.sums.correct);
    for (size_t i = 0; i < a.values.size(); ++i) {
      const double size = b.values[i].abs().max().item<double>();
      EXPECT_TRUE(all_close(a.values[i], b.values[i], 0, relative * size)) << i;
    }
  }
  // log π of an answer's tokens, by a pass over its whole text alone.
  at::Tensor logprob(const std::vector<int64_t>& ids, int64_t begin, const Adapter* adapter,
                     int64_t whole_tokens = 1000, double tail = 1) const {
    const at::Tensor hidden = policy.model.decoder->forward(pack_one(ids), adapter);
    const at::Tensor logp = policy.model.decoder->logits(hidden, adapter).log_softmax(-1);
    at::Tensor sum;
    for (int64_t place = begin; place < std::ssize(ids); ++place) {
      const at::Tensor one = logp[place - 1][ids[static_cast<size_t>(place)]] *
                             (place - begin < whole_tokens ? 1.0 : tail);
      sum = sum.defined() ? sum + one : one;
    }
    return sum;
  }

  DpoSetup setup;
  PolicyBesideReference policy;
};

TEST_F(DpoUpdate, EqualsTheLossWrittenOutOverWholeSequences) {
  setup.dpo.beta = 0.3;
  setup.dpo.ld_alpha = 0.4;
  const auto data = uneven_pairs();
  at::Tensor total;
  DpoGradients expected;
  for (const PreferencePair& pair : data) {
    const int64_t begin = pair.chosen_begin;
    const int64_t both = std::min(std::ssize(pair.chosen), std::ssize(pair.rejected)) - begin;
    const auto ratio = [&](const std::vector<int64_t>& ids) {
      return (logprob(ids, begin, &policy.model.adapter, both, 0.4) -
              logprob(ids, begin, nullptr, both, 0.4)) *
             0.3;
    };
    const at::Tensor chosen = ratio(pair.chosen), rejected = ratio(pair.rejected);
    const at::Tensor loss = -at::log_sigmoid(chosen - rejected);
    total = total.defined() ? total + loss : loss;
    expected.sums.chosen_reward += chosen.item<double>();
    expected.sums.rejected_reward += rejected.item<double>();
    expected.sums.correct += chosen.item<double>() > rejected.item<double>() ? 1 : 0;
  }
  const at::Tensor loss = total / 5.0;
  expected.sums.loss = loss.item<double>();
  expected.values = torch::autograd::grad({loss}, policy.model.adapter.parameters());
  const DpoGradients actual = gradients(judged_pairs(data));
  expect_close(actual, expected, 1e-10);
  EXPECT_EQ(actual.sums.pairs, 5);
  // A long prompt goes through the model once, and no text's last token at all.
  int64_t rows = 0, tokens = 0;
  for (const PreferencePair& pair : data) {
    tokens += pair.tokens();
    rows += pair.tokens() - 2 - (pair.common < kLeastSharedTokens ? 0 : pair.common);
  }
  EXPECT_EQ(actual.sums.tokens, tokens);
  EXPECT_EQ(actual.sums.rows, rows);
}

TEST_F(DpoUpdate, MicroBatchesChangeNothing) {
  setup.dpo.disable_dropout = false;
  setup.dpo.loss_type.values = {DpoLoss::apo_zero, DpoLoss::sft};
  auto data = uneven_pairs();
  data[3].tie = true;
  setup.dpo.micro_batch_tokens = 1000;
  const DpoGradients whole = gradients(judged_pairs(data));
  for (const int64_t tokens : {1, 40}) {
    setup.dpo.micro_batch_tokens = tokens;
    expect_close(gradients(judged_pairs(data)), whole, 1e-10);
  }
}

TEST_F(DpoUpdate, KnownReferencesAreThoseOfTheReference) {
  setup.dpo.ld_alpha = 0.2;
  policy.reference.adapter = adapter_of(9);
  policy.reference.adapter->set_trainable(false);
  const auto data = uneven_pairs();
  auto pairs = judged_pairs(data);
  const DpoGradients asked = gradients(pairs);
  const auto known = reference_logprobs(pairs, setup.dpo, policy, *single_communicator());
  EXPECT_NEAR(known[3],
              logprob(data[1].rejected, data[1].rejected_begin, &*policy.reference.adapter, 2, 0.2)
                  .item<double>(),
              1e-9);
  for (size_t i = 0; i < pairs.size(); ++i) pairs[i].reference = {known[2 * i], known[2 * i + 1]};
  policy.reference.adapter = adapter_of(10);  // is asked nothing
  policy.reference.adapter->set_trainable(false);
  expect_close(gradients(pairs), asked, 1e-10);
}

TEST_F(DpoUpdate, TheReferenceIsFrozenAndHasNoDropout) {
  setup.dpo.disable_dropout = false;
  const auto data = uneven_pairs();
  const JudgedBatch batch = pack_pairs_of_answers(judged_pairs(data), std::nullopt);
  const at::Tensor before = reference_sums(batch, policy.reference);
  EXPECT_FALSE(before.requires_grad());
  (void)gradients(judged_pairs(data), 1);
  EXPECT_TRUE(same_bits(reference_sums(batch, policy.reference), before));
}

TEST_F(DpoUpdate, GradientsAreSentDuringTheLastBackwardPass) {
  const auto data = uneven_pairs();
  setup.dpo.micro_batch_tokens = 9;
  testing::FirstOfTwo communicator;
  (void)accumulate_gradients(judged_pairs(data), 1, setup, policy, communicator);
  testing::expect_sent_in_backward(communicator, policy.model.adapter.parameters());
}

TEST_F(DpoUpdate, DropoutDependsOnStepAndPairAlone) {
  const auto data = uneven_pairs();
  const auto pairs = judged_pairs(data);
  const DpoGradients without = gradients(pairs, 1);
  EXPECT_TRUE(same_bits(gradients(pairs, 2).values[0], without.values[0]));
  setup.dpo.disable_dropout = false;
  const DpoGradients first = gradients(pairs, 1), again = gradients(pairs, 1),
                     later = gradients(pairs, 2);
  setup.model.gradient_checkpointing = true;
  const DpoGradients recomputed = gradients(pairs, 1);
  for (size_t i = 0; i < first.values.size(); ++i) {
    EXPECT_TRUE(same_bits(first.values[i], again.values[i]));
    EXPECT_TRUE(same_bits(recomputed.values[i], first.values[i]));
    EXPECT_FALSE(first.values[i].equal(later.values[i]));
    EXPECT_FALSE(first.values[i].equal(without.values[i]));
  }
}

TEST_F(DpoUpdate, HeldOutPairsAreComparedAsInTraining) {
  const auto data = uneven_pairs();
  for (const bool adapter : {false, true}) {
    if (adapter) policy.reference.adapter = adapter_of(9);
    const Adapter* beside = policy.reference.adapter_or_none();
    setup.dpo.micro_batch_tokens = 30;
    const auto compared =
        compare_pairs(judged_pairs(data), setup.dpo, policy, *single_communicator());
    ASSERT_EQ(compared.size(), data.size());
    const Decoder& decoder = *policy.model.decoder;
    for (size_t i = 0; i < data.size(); ++i) {
      const int64_t begin = data[i].chosen_begin;
      const ComparedPair& pair = compared[i];
      const auto expect = [&](double actual, const std::vector<int64_t>& ids, const Adapter* who) {
        EXPECT_NEAR(actual, logprob(ids, begin, who).item<double>(), 1e-9) << i;
      };
      expect(pair.chosen, data[i].chosen, &policy.model.adapter);
      expect(pair.chosen_plain, data[i].chosen, &policy.model.adapter);
      expect(pair.rejected, data[i].rejected, &policy.model.adapter);
      expect(pair.reference_chosen, data[i].chosen, beside);
      expect(pair.reference_rejected, data[i].rejected, beside);
      double kl = 0;
      for (const auto& ids : {data[i].chosen, data[i].rejected}) {
        const ScoredText text{.ids = ids, .answer_begin = begin};
        const auto each = exact_kl_texts(decoder, &policy.model.adapter, beside, {&text, 1});
        kl += std::accumulate(each[0].begin(), each[0].end(), 0.0);
      }
      EXPECT_NEAR(pair.kl, kl, 1e-9) << i;
      EXPECT_GT(pair.kl, 1e-3);
      EXPECT_EQ(pair.prompt, data[i].prompt);
    }
  }
}

TEST_F(DpoUpdate, TheKlOfAPolicyFromItselfIsZero) {
  policy.reference.adapter = policy.model.adapter.clone();
  const auto data = uneven_pairs();
  for (const ComparedPair& pair :
       compare_pairs(judged_pairs(data), setup.dpo, policy, *single_communicator())) {
    EXPECT_NEAR(pair.kl, 0, 1e-5);
    EXPECT_EQ(pair.chosen, pair.reference_chosen);
  }
}

TEST_F(DpoUpdate, MetricsHaveTrlsNamesAndMeanings) {
  DpoSums sums;
  sums.add({.loss = 0.5,
            .pairs = 3,
            .decided = 2,
            .correct = 1,
            .chosen_reward = 2,
            .rejected_reward = -1,
            .chosen_logprob = -30,
            .rejected_logprob = -50,
            .entropy = 12,
            .answer_tokens = 4});
  const Metrics expected = {
      {"rewards/chosen", 1.0},  {"rewards/rejected", -0.5}, {"rewards/accuracies", 0.5},
      {"rewards/margins", 1.5}, {"logps/chosen", -15.0},    {"logps/rejected", -25.0},
      {"entropy", 3.0}};
  EXPECT_EQ(dpo_metrics(sums), expected);
}

}  // namespace
}  // namespace leash

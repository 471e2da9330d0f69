// Every family's decoder against transformers and PEFT (tests/golden/make_families.py): one case a
// folder, so that each says what fails by its name.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/decoder/heads.h"
#include "tests/support/golden_family.h"
#include "tests/support/tensors.h"

namespace leash::testing {
namespace {

// Products and attention add up in one fixed order, in fp32: of all cases three are off by 1.0e-5
// to 1.45e-5 (1 December 2026), of which transformers' own rounding is up to 7e-6.
constexpr double kFamilyTolerance = 1.6e-5;

class GoldenFamilyDecoder : public ::testing::TestWithParam<std::string> {
 protected:
  GoldenFamily family_{GetParam()};
};
class GoldenFamilyClassifier : public GoldenFamilyDecoder {};

at::Tensor alone(const GoldenFamily& family, size_t text, const AdapterRows& adapters,
                 const ForwardOptions& options = {}) {
  const auto& ids = family.texts[text];
  return logprobs_of(*family.decoder, family.decoder->forward(pack_one(ids), adapters, options),
                     ids, adapters);
}

TEST_P(GoldenFamilyDecoder, LogProbsEqualTransformers) {
  const c10::AutoGradMode no_grad(false);
  const at::Tensor packed = family_.decoder->forward(pack(family_.texts));
  int64_t first = 0;
  for (size_t i = 0; i < family_.texts.size(); ++i) {
    const at::Tensor expected = family_.numbers("logprobs." + std::to_string(i));
    EXPECT_TRUE(all_close(alone(family_, i, {}), expected, 0, kFamilyTolerance)) << "text " << i;
    const auto length = static_cast<int64_t>(family_.texts[i].size());
    EXPECT_TRUE(all_close(
        logprobs_of(*family_.decoder, packed.narrow(0, first, length), family_.texts[i], {}),
        expected, 0, kFamilyTolerance))
        << "text " << i << ", packed";
    first += length;
  }
}

TEST_P(GoldenFamilyDecoder, AdaptedLogProbsEqualPeft) {
  const c10::AutoGradMode no_grad(false);
  const Adapter adapter = family_.adapter();
  for (size_t i = 0; i < family_.texts.size(); ++i) {
    const at::Tensor expected = family_.numbers("adapted." + std::to_string(i));
    EXPECT_TRUE(all_close(alone(family_, i, adapter), expected, 0, kFamilyTolerance))
        << "text " << i;
  }
}

TEST_P(GoldenFamilyDecoder, GradientsEqualPeft) {
  Adapter adapter = family_.adapter();
  adapter.set_trainable(true);
  for (const bool recompute : {false, true}) {
    const ForwardOptions options{.recompute_blocks = recompute};
    const at::Tensor loss =
        at::cat({alone(family_, 0, adapter, options), alone(family_, 1, adapter, options)})
            .mean()
            .neg();
    const auto gradients = torch::autograd::grad({loss}, adapter.parameters());
    const auto named = adapter.named_tensors();
    ASSERT_EQ(named.size(), gradients.size());
    for (size_t i = 0; i < named.size(); ++i) {
      const std::string key = "grad." + named[i].first;
      ASSERT_TRUE(family_.golden->contains(key)) << key;
      const at::Tensor expected = family_.numbers(key);
      const double largest = expected.abs().max().item<double>();
      EXPECT_TRUE(all_close(gradients[i], expected, 0, kFamilyTolerance * largest)) << key;
    }
  }
}

// The first text's beginning once, continued by its own end and by the second text.
TEST_P(GoldenFamilyDecoder, SharedPrefixesAreAsWholeTexts) {
  constexpr int64_t kShared = 11;
  const c10::AutoGradMode no_grad(false);
  const Adapter adapter = family_.adapter();
  const auto& first = family_.texts[0];
  std::vector<int64_t> other(first.begin(), first.begin() + kShared);
  other.insert(other.end(), family_.texts[1].begin(), family_.texts[1].end());
  const auto own = static_cast<int64_t>(first.size()) - kShared;
  const auto added = static_cast<int64_t>(family_.texts[1].size());
  const at::Tensor whole = family_.decoder->forward(pack({{first, other}}), adapter);
  const PackedTokens shared{
      .ids = at::cat({at::tensor(first, at::kLong), at::tensor(family_.texts[1], at::kLong)}),
      .positions = at::cat(
          {at::arange(kShared + own, at::kLong), at::arange(kShared, kShared + added, at::kLong)}),
      .lengths = {kShared, own, added},
      .prefixes = {-1, 0, 0}};
  const at::Tensor states = family_.decoder->forward(shared, adapter);
  const double scale = whole.abs().max().item<double>();
  EXPECT_TRUE(all_close(states.narrow(0, 0, kShared + own), whole.narrow(0, 0, kShared + own), 0,
                        1e-5 * scale));
  EXPECT_TRUE(all_close(states.narrow(0, kShared + own, added),
                        whole.narrow(0, 2 * kShared + own, added), 0, 1e-5 * scale));
}

TEST_P(GoldenFamilyClassifier, LogitsEqualTransformers) {
  const c10::AutoGradMode no_grad(false);
  const LinearHead head = LinearHead::load(family_.checkpoint);
  for (size_t i = 0; i < family_.texts.size(); ++i) {
    const at::Tensor hidden = family_.decoder->forward(pack_one(family_.texts[i]));
    const at::Tensor expected = family_.numbers("logits." + std::to_string(i));
    EXPECT_EQ(family_.checkpoint.config.num_labels, expected.numel());
    EXPECT_TRUE(all_close(head(hidden.narrow(0, -1, 1)).squeeze(0), expected, 0, kFamilyTolerance));
  }
}

INSTANTIATE_TEST_SUITE_P(Families, GoldenFamilyDecoder, ::testing::ValuesIn(golden_families(false)),
                         [](const auto& test) { return test.param; });
INSTANTIATE_TEST_SUITE_P(Families, GoldenFamilyClassifier,
                         ::testing::ValuesIn(golden_families(true)),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace leash::testing

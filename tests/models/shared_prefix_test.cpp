// Sequences that continue another one of their batch: as if each were whole.
#include <ATen/ops/cat.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/attention.h"
#include "models/decoder.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using testing::all_close;
using testing::tiny_adapter;
using testing::tiny_decoder;

// {5 9 1} [77 3], {5 9 1} [42], then a whole sequence {8 2} and {8 2} [6].
PackedTokens shared() {
  return {.ids = at::tensor({5, 9, 1, 77, 3, 42, 8, 2, 6}, at::kLong),
          .positions = at::tensor({0, 1, 2, 3, 4, 3, 0, 1, 2}, at::kLong),
          .lengths = {3, 2, 1, 2, 1},
          .prefixes = {-1, 0, 0, -1, 3}};
}

// The rows of the whole texts that the shared batch has.
at::Tensor of_whole_texts(const Decoder& decoder, const Adapter& adapter,
                          const ForwardOptions& options = {}) {
  const std::vector<std::vector<int64_t>> texts = {{5, 9, 1, 77, 3}, {5, 9, 1, 42}, {8, 2, 6}};
  const at::Tensor hidden = decoder.forward(pack(texts), adapter, options);
  return hidden.index_select(0, at::tensor({0, 1, 2, 3, 4, 8, 9, 10, 11}, at::kLong));
}

TEST(SharedPrefix, StatesAreThoseOfWholeTexts) {
  const auto decoder = tiny_decoder(at::kDouble);
  const Adapter adapter = tiny_adapter(*decoder);
  EXPECT_TRUE(
      all_close(decoder->forward(shared(), adapter), of_whole_texts(*decoder, adapter), 0, 1e-12));
}

TEST(SharedPrefix, GradientsAreThoseOfWholeTexts) {
  const auto decoder = tiny_decoder(at::kDouble);
  const Adapter adapter = tiny_adapter(*decoder);
  const at::Tensor weights = at::linspace(-1, 2, 9, at::kDouble).unsqueeze(1);
  // Rows of the prefix stand once in the shared batch and in the first text alone there.
  const auto gradients = [&](const at::Tensor& hidden) {
    return torch::autograd::grad({hidden.square().mul(weights).sum()}, adapter.parameters());
  };
  const auto expected = gradients(of_whole_texts(*decoder, adapter));
  for (const bool recompute : {false, true}) {
    const auto actual =
        gradients(decoder->forward(shared(), adapter, {.recompute_blocks = recompute}));
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_TRUE(all_close(actual[i], expected[i], 0, 1e-10)) << i;
    }
  }
}

TEST(SharedPrefix, OnlyAnEarlierWholeSequenceCanBeContinued) {
  const auto decoder = tiny_decoder();
  PackedTokens tokens = shared();
  tokens.prefixes = {-1, 0, 1, -1, 3};  // 1 continues one itself
  EXPECT_THROW(decoder->forward(tokens), c10::Error);
  tokens.prefixes = {1, -1, -1, -1, -1};
  EXPECT_THROW(decoder->forward(tokens), c10::Error);
  tokens.prefixes = {-1, 0};
  EXPECT_THROW(decoder->forward(tokens), c10::Error);
}

}  // namespace
}  // namespace leash

#include "models/decoder/packed_texts.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "tests/support/tensors.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using testing::all_close;
using testing::tiny_adapter;
using testing::tiny_decoder;
using Texts = std::vector<std::vector<int64_t>>;

std::vector<int64_t> counting(int64_t length, int64_t last = 0) {
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < length; ++i) ids.push_back(i + 1);
  if (last != 0) ids.back() = last;
  return ids;
}

int64_t beginning(const Texts& texts) {
  return shared_beginning(std::vector<TokenSpan>(texts.begin(), texts.end()));
}

TEST(PackedTexts, WhatAllBeginWith) {
  EXPECT_EQ(beginning({}), 0);
  EXPECT_EQ(beginning({counting(20)}), 0);
  EXPECT_EQ(beginning({counting(20, 90), counting(20, 91)}), 19);
  EXPECT_EQ(beginning({counting(20), counting(20)}), 19);  // each keeps a token of its own
  EXPECT_EQ(beginning({counting(20), counting(12), counting(15, 77)}), 11);
  EXPECT_EQ(beginning({counting(9), counting(9)}), 8);
  EXPECT_EQ(beginning({counting(8), counting(20)}), 0);  // too little
  EXPECT_EQ(beginning({counting(9), counting(55)}), 8);
  EXPECT_EQ(beginning({counting(9), counting(56)}), 0);  // 8 of 65 rows
  EXPECT_EQ(beginning({counting(20), {9, 9, 9}, counting(20)}), 0);
}

TEST(PackedTexts, RowsOfEveryToken) {
  const Texts texts = {counting(12, 50), counting(10, 60), counting(13, 70)};
  const PackedTexts packed = pack_shared(texts);
  EXPECT_EQ(packed.shared, 9);
  EXPECT_EQ(packed.tokens.lengths, (std::vector<int64_t>{9, 3, 1, 4}));
  EXPECT_EQ(packed.tokens.prefixes, (std::vector<int64_t>{-1, 0, 0, 0}));
  for (size_t text = 0; text < texts.size(); ++text) {
    for (int64_t i = 0; i < std::ssize(texts[text]); ++i) {
      const int64_t row = packed.row(static_cast<int64_t>(text), i);
      EXPECT_EQ(packed.tokens.ids[row].item<int64_t>(), texts[text][i]);
      EXPECT_EQ(packed.tokens.positions[row].item<int64_t>(), i);
    }
  }
  const PackedTexts plain = pack_shared(Texts{{1, 2}, {3}});
  EXPECT_EQ(plain.shared, 0);
  EXPECT_TRUE(plain.tokens.prefixes.empty());
  EXPECT_EQ(plain.row(1, 0), 2);
  EXPECT_THROW(pack_shared(Texts{{1}, {}}), c10::Error);
}

// Every token's state, and the gradients through all of them, as in whole texts.
TEST(PackedTexts, StatesAndGradientsAreThoseOfWholeTexts) {
  const Texts texts = {counting(14, 50), counting(10, 60), counting(30, 70)};
  for (const auto& [dtype, tolerance] : {std::pair{at::kDouble, 1e-11}, {at::kFloat, 1e-4}}) {
    const auto decoder = tiny_decoder(dtype);
    const Adapter adapter = tiny_adapter(*decoder);
    const PackedTexts packed = pack_shared(texts);
    std::vector<int64_t> rows;
    for (size_t text = 0; text < texts.size(); ++text) {
      for (int64_t i = 0; i < std::ssize(texts[text]); ++i) {
        rows.push_back(packed.row(static_cast<int64_t>(text), i));
      }
    }
    const at::Tensor weights = at::arange(std::ssize(rows)).to(dtype).unsqueeze(1).div(20).sin();
    const auto gradients = [&](const at::Tensor& hidden) {
      return torch::autograd::grad({hidden.mul(weights).square().sum()}, adapter.parameters());
    };
    const at::Tensor whole = decoder->forward(pack(texts), adapter);
    const auto expected = gradients(whole);
    for (const bool recompute : {false, true}) {
      const at::Tensor states =
          decoder->forward(packed.tokens, adapter, {.recompute_blocks = recompute})
              .index_select(0, at::tensor(rows));
      EXPECT_TRUE(all_close(states, whole, 0, tolerance));
      const auto actual = gradients(states);
      for (size_t i = 0; i < expected.size(); ++i) {
        const double size = expected[i].abs().max().item<double>();
        EXPECT_TRUE(all_close(actual[i], expected[i], 0, tolerance * (1 + size))) << i;
      }
    }
  }
}

}  // namespace
}  // namespace leash

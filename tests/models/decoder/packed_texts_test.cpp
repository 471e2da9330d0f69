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

int64_t prefix(const Texts& texts) {
  return shared_prefix(std::vector<TokenSpan>(texts.begin(), texts.end()));
}

PackedTexts packed_as_one(const Texts& texts) {
  return pack_shared(std::vector<TokenSpan>(texts.begin(), texts.end()));
}

TEST(PackedTexts, WhatAllBeginWith) {
  EXPECT_EQ(prefix({}), 0);
  EXPECT_EQ(prefix({counting(20)}), 0);
  EXPECT_EQ(prefix({counting(20, 90), counting(20, 91)}), 19);
  EXPECT_EQ(prefix({counting(20), counting(20)}), 19);  // each keeps a token of its own
  EXPECT_EQ(prefix({counting(20), counting(12), counting(15, 77)}), 11);
  EXPECT_EQ(prefix({counting(9), counting(9)}), 8);
  EXPECT_EQ(prefix({counting(8), counting(20)}), 0);  // too little
  EXPECT_EQ(prefix({counting(9), counting(55)}), 8);
  EXPECT_EQ(prefix({counting(9), counting(56)}), 0);  // 8 of 65 rows
  EXPECT_EQ(prefix({counting(20), {9, 9, 9}, counting(20)}), 0);
}

TEST(PackedTexts, RowsOfEveryToken) {
  const Texts texts = {counting(12, 50), counting(10, 60), counting(13, 70)};
  const PackedTexts packed = packed_as_one(texts);
  EXPECT_EQ(packed.places[0].shared, 9);
  EXPECT_EQ(packed.tokens.lengths, (std::vector<int64_t>{9, 3, 1, 4}));
  EXPECT_EQ(packed.tokens.prefixes, (std::vector<int64_t>{-1, 0, 0, 0}));
  for (size_t text = 0; text < texts.size(); ++text) {
    for (int64_t i = 0; i < std::ssize(texts[text]); ++i) {
      const int64_t row = packed.row(static_cast<int64_t>(text), i);
      EXPECT_EQ(packed.tokens.ids[row].item<int64_t>(), texts[text][i]);
      EXPECT_EQ(packed.tokens.positions[row].item<int64_t>(), i);
    }
  }
  const PackedTexts plain = packed_as_one(Texts{{1, 2}, {3}});
  EXPECT_EQ(plain.places[0].shared, 0);
  EXPECT_TRUE(plain.tokens.prefixes.empty());
  EXPECT_EQ(plain.row(1, 0), 2);
  EXPECT_THROW(packed_as_one(Texts{{1}, {}}), c10::Error);
}

// Every token's state, and the gradients through all of them, as in whole texts.
TEST(PackedTexts, GroupsHaveAPrefixEach) {
  const Texts texts = {{1, 2, 3, 4}, {1, 2, 5}, {7}, {8, 9, 10}, {8, 11}};
  const std::vector<TokenSpan> spans(texts.begin(), texts.end());
  const std::vector<TextGroup> groups = {
      {.num_texts = 2, .shared = 2}, {.num_texts = 1}, {.num_texts = 2, .shared = 1}};
  const PackedTexts packed = pack_groups(spans, groups);
  EXPECT_EQ(packed.tokens.lengths, (std::vector<int64_t>{2, 2, 1, 1, 1, 2, 1}));
  EXPECT_EQ(packed.tokens.prefixes, (std::vector<int64_t>{-1, 0, 0, -1, -1, 4, 4}));
  for (size_t text = 0; text < texts.size(); ++text) {
    for (int64_t i = 0; i < std::ssize(texts[text]); ++i) {
      const int64_t row = packed.row(static_cast<int64_t>(text), i);
      EXPECT_EQ(packed.tokens.ids[row].item<int64_t>(), texts[text][i]);
      EXPECT_EQ(packed.tokens.positions[row].item<int64_t>(), i);
    }
    EXPECT_EQ(packed.tokens.ids[packed.last_row(static_cast<int64_t>(text))].item<int64_t>(),
              texts[text].back());
  }
  EXPECT_THROW(pack_groups(spans, std::span(groups).first(2)), c10::Error) << "a text in no group";
  const std::vector<TextGroup> long_prefix = {{.num_texts = 5, .shared = 1}};
  EXPECT_THROW(pack_groups(spans, long_prefix), c10::Error) << "{7} has no token behind it";
}

// Every answer token is predicted by the row of the token before it, in whichever sequence that is.
TEST(PackedTexts, RowsThatPredictAnswers) {
  const Texts texts = {{1, 2, 3, 4}, {1, 2, 5}, {6, 7, 8}};
  const std::vector<AnswerText> answers = {{texts[0], 2}, {texts[1], 2}, {texts[2], 1}};
  const std::vector<TextGroup> groups = {{.num_texts = 2, .shared = 1}, {.num_texts = 1}};
  const PackedAnswers packed = pack_answers(answers, groups);
  EXPECT_EQ(packed.contexts.tokens.lengths, (std::vector<int64_t>{1, 2, 1, 2}));
  const std::vector<int64_t> before = {2, 3, 2, 6, 7}, target = {3, 4, 5, 7, 8};
  ASSERT_EQ(packed.rows.size(0), 5);
  for (int64_t i = 0; i < 5; ++i) {
    const int64_t row = packed.rows[i].item<int64_t>();
    EXPECT_EQ(packed.contexts.tokens.ids[row].item<int64_t>(), before[static_cast<size_t>(i)]);
    EXPECT_EQ(packed.targets[i].item<int64_t>(), target[static_cast<size_t>(i)]);
  }
}

// Gradients through several groups in one batch are those of the texts one by one.
TEST(PackedTexts, GroupsAreWholeTextsToTheModel) {
  const auto decoder = tiny_decoder(at::kDouble);
  const Texts texts = {{1, 2, 3, 4, 5}, {1, 2, 3, 6}, {9, 8, 7, 6}, {9, 8, 7, 5, 4}, {9, 8, 2}};
  const std::vector<TextGroup> groups = {{.num_texts = 2, .shared = 3},
                                         {.num_texts = 3, .shared = 2}};
  const auto run = [&](bool grouped) {
    const Adapter adapter = tiny_adapter(*decoder).to(at::kDouble);
    std::vector<at::Tensor> states;
    if (grouped) {
      const std::vector<TokenSpan> spans(texts.begin(), texts.end());
      const PackedTexts packed = pack_groups(spans, groups);
      const at::Tensor hidden = decoder->forward(packed.tokens, adapter);
      for (int64_t i = 0; i < std::ssize(texts); ++i) states.push_back(hidden[packed.last_row(i)]);
    } else {
      for (const auto& text : texts) {
        states.push_back(decoder->forward(pack_one(text), adapter)[std::ssize(text) - 1]);
      }
    }
    at::Tensor sum = states[0].square().sum();
    for (size_t i = 1; i < states.size(); ++i) sum = sum.add(states[i].square().sum());
    torch::autograd::backward({sum}, {});
    std::vector<at::Tensor> gradients = {sum.detach()};
    for (const at::Tensor& leaf : adapter.parameters()) gradients.push_back(leaf.grad());
    return gradients;
  };
  const auto grouped = run(true), whole = run(false);
  ASSERT_EQ(grouped.size(), whole.size());
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_TRUE(all_close(grouped[i], whole[i], 1e-9, 1e-11)) << i;
  }
}

TEST(PackedTexts, StatesAndGradientsAreThoseOfWholeTexts) {
  const Texts texts = {counting(14, 50), counting(10, 60), counting(30, 70)};
  for (const auto& [dtype, tolerance] : {std::pair{at::kDouble, 1e-11}, {at::kFloat, 1e-4}}) {
    const auto decoder = tiny_decoder(dtype);
    const Adapter adapter = tiny_adapter(*decoder);
    const PackedTexts packed = packed_as_one(texts);
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

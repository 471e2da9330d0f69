// Attention by its definition: all scores of a batch at once, by LibTorch's autograd.
#pragma once

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/einsum.h>
#include <ATen/ops/tensor.h>

#include <cmath>
#include <limits>
#include <vector>

#include "models/attention/attention_rule.h"

namespace leash::testing {

// Which keys each row of a packed batch sees without a window, and where rows are in their texts.
struct TextsOfRows {
  at::Tensor sees;    // bool [tokens, tokens]
  at::Tensor places;  // int64 [tokens]
};
inline TextsOfRows texts_of_rows(const std::vector<int64_t>& lengths,
                                 const std::vector<int64_t>& prefixes) {
  std::vector<int64_t> places, sequence;
  for (size_t i = 0; i < lengths.size(); ++i) {
    const bool continues = !prefixes.empty() && prefixes[i] >= 0;
    for (int64_t j = 0; j < lengths[i]; ++j) {
      places.push_back(j + (continues ? lengths[static_cast<size_t>(prefixes[i])] : 0));
      sequence.push_back(static_cast<int64_t>(i));
    }
  }
  std::vector<int64_t> sees;
  for (size_t row = 0; row < places.size(); ++row) {
    const auto own = static_cast<size_t>(sequence[row]);
    for (size_t key = 0; key < places.size(); ++key) {
      const bool of_text =
          sequence[key] == sequence[row] || (!prefixes.empty() && sequence[key] == prefixes[own]);
      sees.push_back(of_text && places[key] <= places[row] ? 1 : 0);
    }
  }
  const auto tokens = static_cast<int64_t>(places.size());
  return {at::tensor(sees, at::kLong).view({tokens, tokens}).to(at::kBool),
          at::tensor(places, at::kLong)};
}

// query [tokens, heads, head_dim], key and value [tokens, kv_heads, head_dim] -> [tokens, heads ·
// head_dim].
inline at::Tensor naive_attention(const at::Tensor& query, const at::Tensor& key,
                                  const at::Tensor& value, const std::vector<int64_t>& lengths,
                                  const std::vector<int64_t>& prefixes, const AttentionRule& rule) {
  const int64_t group = query.size(1) / key.size(1);
  const at::Tensor keys = key.repeat_interleave(group, 1),
                   values = value.repeat_interleave(group, 1);
  const double scale =
      rule.scale != 0 ? rule.scale : 1 / std::sqrt(static_cast<double>(query.size(2)));
  at::Tensor scores = at::einsum("qhd,khd->hqk", {query, keys}).mul(scale);
  if (rule.softcap > 0) scores = scores.div(rule.softcap).tanh().mul(rule.softcap);
  const TextsOfRows texts = texts_of_rows(lengths, prefixes);
  const at::Tensor distance = texts.places.unsqueeze(0).sub(texts.places.unsqueeze(1));
  if (rule.slopes.defined() && rule.bfloat16_bias) {
    const at::Tensor bias =
        rule.slopes.to(at::kBFloat16).unsqueeze(1).mul(texts.places.to(at::kBFloat16));
    scores = scores.add(bias.to(query.scalar_type()).unsqueeze(1).mul(scale));
  } else if (rule.slopes.defined()) {
    scores = scores.add(rule.slopes.to(query.scalar_type()).view({-1, 1, 1}).mul(distance));
  }
  at::Tensor sees = texts.sees;
  if (rule.window > 0) sees = sees.logical_and(distance.gt(-rule.window));
  scores = scores.masked_fill(sees.logical_not(), -std::numeric_limits<double>::infinity());
  return at::einsum("hqk,khd->qhd", {scores.softmax(-1), values}).flatten(1);
}

}  // namespace leash::testing

#include "models/attention/ruled_attention.h"

#include <ATen/OpMathType.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>
#include <ATen/record_function.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <limits>

#include "models/kernels/node.h"

namespace leash {
namespace {

constexpr double kUnseenScore = -std::numeric_limits<double>::infinity();
constexpr int64_t kScoresAtOnce = int64_t{1} << 21;
constexpr int64_t kFewestRowsAtOnce = 16, kMostRowsAtOnce = 256;

at::ScalarType wide_type(const at::Tensor& x) { return at::toOpMathType(x.scalar_type()); }

// [rows, heads, head_dim] -> [kv_heads, group · rows, head_dim] in a wide type, and back.
at::Tensor by_key_head(const at::Tensor& x, int64_t kv_heads) {
  const int64_t group = x.size(1) / kv_heads;
  return x.to(wide_type(x))
      .unflatten(1, {kv_heads, group})
      .permute({1, 2, 0, 3})
      .reshape({kv_heads, group * x.size(0), x.size(2)});
}
at::Tensor by_row(const at::Tensor& x, int64_t rows) {
  return x.unflatten(1, {x.size(1) / rows, rows}).permute({2, 0, 1, 3}).flatten(1, 2);
}

// What a sequence's rows see, [kv_heads, seen, head_dim] in a wide type.
at::Tensor wide_keys(const at::Tensor& x, const SequenceRows& place) {
  return seen_by(x, place).to(wide_type(x)).transpose(0, 1);
}

// Some rows of a sequence, by their places, and the keys that they see.
struct RowPart {
  int64_t row = 0, rows = 0;  // places
  int64_t key = 0, keys = 0;
};

// `rows` rows are the last of `seen`.
std::vector<RowPart> row_parts(int64_t rows, int64_t seen, int64_t heads,
                               const AttentionRule& rule) {
  const int64_t window = rule.window > 0 ? rule.window : seen;
  const int64_t most =
      std::clamp(kScoresAtOnce / (heads * std::min(seen, window + kMostRowsAtOnce)),
                 kFewestRowsAtOnce, kMostRowsAtOnce);
  std::vector<RowPart> parts;
  for (int64_t row = seen - rows; row < seen; row += most) {
    const int64_t end = std::min(row + most, seen);
    const int64_t key = std::max<int64_t>(row - window + 1, 0);
    parts.push_back({.row = row, .rows = end - row, .key = key, .keys = end - key});
  }
  return parts;
}

// What ALiBi adds for queries and keys at these places (int64 [queries], [keys]): [heads, queries,
// keys]. What is the same for all keys of a row changes nothing, and is left out of large numbers.
at::Tensor alibi(const AttentionRule& rule, int64_t head_dim, const at::Tensor& queries,
                 const at::Tensor& keys, at::ScalarType wide) {
  if (!rule.bfloat16_bias) {
    const at::Tensor distances = keys.unsqueeze(0).sub(queries.unsqueeze(1)).to(wide);
    return rule.slopes.to(wide).view({-1, 1, 1}).mul(distances);
  }
  const at::Tensor slopes = rule.slopes.to(at::kBFloat16).unsqueeze(1);
  const auto rounded = [&](const at::Tensor& places) {
    return slopes.mul(places.to(at::kBFloat16)).to(wide);
  };
  return rounded(keys)
      .unsqueeze(1)
      .sub(rounded(queries).unsqueeze(2))
      .mul(rule.scale_for(head_dim));
}

struct Weights {
  at::Tensor scores;   // before bias and mask, where they are capped
  at::Tensor weights;  // softmax
};

void soft_cap(at::Tensor& scores, const AttentionRule& rule) {
  if (rule.softcap > 0) scores.div_(rule.softcap).tanh_().mul_(rule.softcap);
}

// query [kv_heads, group · rows, head_dim], keys [kv_heads, keys, head_dim] -> [kv_heads, group ·
// rows, keys].
Weights weights_of(const at::Tensor& query, const at::Tensor& keys, const RowPart& part,
                   const AttentionRule& rule, bool keep_scores) {
  const int64_t group = query.size(1) / part.rows;
  at::Tensor scores = at::bmm(query, keys.transpose(1, 2)).mul_(rule.scale_for(query.size(2)));
  soft_cap(scores, rule);
  Weights result;
  if (keep_scores && rule.softcap > 0) result.scores = scores.clone();
  const auto places = at::TensorOptions(at::kLong).device(query.device());
  const at::Tensor rows_at = at::arange(part.row, part.row + part.rows, places);
  const at::Tensor keys_at = at::arange(part.key, part.key + part.keys, places);
  at::Tensor by_head = scores.view({query.size(0), group, part.rows, part.keys});
  if (rule.slopes.defined()) {
    by_head.add_(alibi(rule, query.size(2), rows_at, keys_at, query.scalar_type())
                     .view({query.size(0), group, part.rows, part.keys}));
  }
  at::Tensor hidden = keys_at.unsqueeze(0).gt(rows_at.unsqueeze(1));
  if (rule.window > 0) {
    hidden.logical_or_(keys_at.unsqueeze(0).le(rows_at.unsqueeze(1).sub(rule.window)));
  }
  by_head.masked_fill_(hidden, kUnseenScore);
  result.weights = scores.softmax(-1);
  return result;
}

// Gradients of one part: of its queries returned, of its keys and values added to dkeys and dvalues
// [kv_heads, keys, head_dim].
at::Tensor part_backward(const at::Tensor& query, const at::Tensor& keys, const at::Tensor& values,
                         const at::Tensor& dy, const RowPart& part, const AttentionRule& rule,
                         at::Tensor dkeys, at::Tensor dvalues) {
  const Weights forward = weights_of(query, keys, part, rule, /*keep_scores=*/true);
  dvalues.add_(at::bmm(forward.weights.transpose(1, 2), dy));
  at::Tensor gradient = at::bmm(dy, values.transpose(1, 2)).mul_(forward.weights);
  gradient.sub_(forward.weights.mul(gradient.sum(-1, /*keepdim=*/true)));
  if (forward.scores.defined()) {  // d tanh(x) = 1 - tanh²(x)
    gradient.mul_(forward.scores.div(rule.softcap).square_().neg_().add_(1));
  }
  gradient.mul_(rule.scale_for(query.size(2)));
  dkeys.add_(at::bmm(gradient.transpose(1, 2), query));
  return at::bmm(gradient, keys);
}

}  // namespace

at::Tensor ruled_last_rows(const at::Tensor& query, const at::Tensor& keys,
                           const at::Tensor& values, const AttentionRule& rule) {
  const int64_t seen = keys.size(1);
  const at::Tensor wide = keys.to(wide_type(query)), wide_values = values.to(wide_type(query));
  const at::Tensor out = at::empty(query.sizes(), query.options().requires_grad(false));
  for (const RowPart& part : row_parts(query.size(0), seen, query.size(1), rule)) {
    const int64_t row = part.row - (seen - query.size(0));
    const at::Tensor weights =
        weights_of(by_key_head(query.narrow(0, row, part.rows), keys.size(0)),
                   wide.narrow(1, part.key, part.keys), part, rule, /*keep_scores=*/false)
            .weights;
    out.narrow(0, row, part.rows)
        .copy_(by_row(at::bmm(weights, wide_values.narrow(1, part.key, part.keys)), part.rows));
  }
  return out.flatten(1);
}

at::Tensor ruled_forward(const PackedHeads& heads, const std::vector<SequenceRows>& places,
                         const AttentionRule& rule) {
  RECORD_USER_SCOPE("leash::ruled_attention");
  const at::Tensor out = at::empty(heads.query.sizes(), heads.query.options().requires_grad(false));
  for (const SequenceRows& place : places) {
    if (place.rows == 0) continue;
    const at::Tensor query = heads.query.narrow(0, place.begin, place.rows);
    out.narrow(0, place.begin, place.rows)
        .copy_(
            ruled_last_rows(query, wide_keys(heads.key, place), wide_keys(heads.value, place), rule)
                .view_as(query));
  }
  return out;
}

PackedHeads ruled_backward(const PackedHeads& heads, const at::Tensor& dy,
                           const std::vector<SequenceRows>& places, const AttentionRule& rule) {
  RECORD_USER_SCOPE("leash::ruled_attention_backward");
  const at::TensorOptions options =
      heads.query.options().requires_grad(false).dtype(wide_type(heads.query));
  PackedHeads gradients{.query = at::empty(heads.query.sizes(), options),
                        .key = at::zeros(heads.key.sizes(), options),
                        .value = at::zeros(heads.value.sizes(), options)};
  const auto give = [](const at::Tensor& all, const at::Tensor& seen, const SequenceRows& place) {
    const at::Tensor rows = seen.transpose(0, 1);
    all.narrow(0, place.begin, place.rows).add_(rows.narrow(0, place.prefix_rows, place.rows));
    if (place.prefix_rows == 0) return;
    all.narrow(0, place.prefix_begin, place.prefix_rows).add_(rows.narrow(0, 0, place.prefix_rows));
  };
  const int64_t kv_heads = heads.key.size(1);
  for (const SequenceRows& place : places) {
    const at::Tensor keys = wide_keys(heads.key, place), values = wide_keys(heads.value, place);
    const at::Tensor dkeys = at::zeros(keys.sizes(), options),
                     dvalues = at::zeros(keys.sizes(), options);
    for (const RowPart& part : row_parts(place.rows, place.seen(), heads.query.size(1), rule)) {
      const int64_t row = place.begin + part.row - place.prefix_rows;
      const auto of_keys = [&part](const at::Tensor& x) {
        return x.narrow(1, part.key, part.keys);
      };
      const at::Tensor dquery =
          part_backward(by_key_head(heads.query.narrow(0, row, part.rows), kv_heads), of_keys(keys),
                        of_keys(values), by_key_head(dy.narrow(0, row, part.rows), kv_heads), part,
                        rule, of_keys(dkeys), of_keys(dvalues));
      gradients.query.narrow(0, row, part.rows).copy_(by_row(dquery, part.rows));
    }
    give(gradients.key, dkeys, place);
    give(gradients.value, dvalues, place);
  }
  const at::ScalarType dtype = heads.query.scalar_type();
  return {.query = gradients.query.to(dtype),
          .key = gradients.key.to(dtype),
          .value = gradients.value.to(dtype)};
}

at::Tensor ruled_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                           const std::vector<SequenceRows>& places, const AttentionRule& rule) {
  const PackedHeads heads{.query = query.detach(), .key = key.detach(), .value = value.detach()};
  at::Tensor y;
  {
    const c10::AutoGradMode no_grad(false);
    y = ruled_forward(heads, places, rule).flatten(1);
  }
  if (!differentiable({query, key, value})) return y;
  return with_backward(
      y, {query, key, value}, "RuledAttentionBackward",
      [heads, places, rule](const at::Tensor& dy) {
        const PackedHeads gradients =
            ruled_backward(heads, dy.view(heads.query.sizes()), places, rule);
        return torch::autograd::variable_list{gradients.query, gradients.key, gradients.value};
      });
}

at::Tensor ruled_next_rows(const at::Tensor& query, const at::Tensor& keys,
                           const at::Tensor& values, const at::Tensor& visible,
                           const at::Tensor& past, const AttentionRule& rule) {
  const int64_t kv_heads = keys.size(1), seen = keys.size(2), head_dim = query.size(2);
  const at::ScalarType wide = wide_type(query);
  const at::Tensor groups = query.unflatten(1, {kv_heads, query.size(1) / kv_heads});
  at::Tensor scores =
      at::matmul(groups, keys.transpose(2, 3)).to(wide).mul_(rule.scale_for(head_dim));
  soft_cap(scores, rule);
  const at::Tensor places = at::arange(seen, past.options());
  if (rule.slopes.defined()) {
    scores.add_(alibi(rule, head_dim, past, places, wide).transpose(0, 1).reshape(scores.sizes()));
  }
  const auto over_heads = [](const at::Tensor& x) { return x.unsqueeze(1).unsqueeze(1); };
  scores.add_(over_heads(visible));
  if (rule.window > 0) {
    const at::Tensor outside = places.unsqueeze(0).le(past.unsqueeze(1).sub(rule.window));
    scores.masked_fill_(over_heads(outside), kUnseenScore);
  }
  return at::matmul(scores.softmax(-1).to(values.scalar_type()), values).flatten(1);
}

}  // namespace leash

#include "models/attention/varlen_attention.h"

#include <ATen/OpMathType.h>
#include <ATen/ops/_efficient_attention_forward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <numeric>

#include "models/attention/heads_first.h"
#include "models/attention/ruled_attention.h"
#include "models/device/device.h"

namespace leash {
namespace {

constexpr int64_t kCausalFromTheEnd = 2;  // sdp::CustomMaskType::CausalFromBottomRight

// The keys (or values) of all sequences, one after another. What many sequences add to the gradient
// of a shared prefix is summed in fp32 at least and rounded once.
at::Tensor keys_of(const at::Tensor& rows, const VarlenPlan& plan) {
  if (!plan.key_rows.defined()) return rows;
  return rows.to(at::toOpMathType(rows.scalar_type()))
      .index_select(0, plan.key_rows)
      .to(rows.scalar_type());
}

at::Tensor flash(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                 const VarlenPlan& plan, std::optional<double> scale) {
  return std::get<0>(at::_flash_attention_forward(
      query, key, value, plan.query_starts, plan.key_starts, plan.longest_query, plan.longest_key,
      /*dropout_p=*/0.0, /*is_causal=*/true,
      /*return_debug_mask=*/false, scale));
}

// It knows no groups: every query head gets its key head's rows.
at::Tensor memory_efficient(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const VarlenPlan& plan, std::optional<double> scale) {
  const int64_t group = query.size(1) / key.size(1);
  const auto wide = [&](const at::Tensor& x) {
    return (group == 1 ? x : x.repeat_interleave(group, 1)).contiguous().unsqueeze(0);
  };
  const bool gradients = c10::GradMode::is_enabled() &&
                         (query.requires_grad() || key.requires_grad() || value.requires_grad());
  return std::get<0>(at::_efficient_attention_forward(
                         query.contiguous().unsqueeze(0), wide(key), wide(value),
                         /*bias=*/std::nullopt, plan.query_starts, plan.key_starts,
                         plan.longest_query, plan.longest_key, /*dropout_p=*/0.0, kCausalFromTheEnd,
                         /*compute_log_sumexp=*/gradients, scale))
      .squeeze(0);
}

std::vector<int64_t> on_host(const at::Tensor& starts) {
  const at::Tensor here = starts.to(at::kCPU, at::kLong);
  const auto* data = here.const_data_ptr<int64_t>();
  return {data, data + here.numel()};
}

}  // namespace

VarlenPlan varlen_plan(const std::vector<int64_t>& lengths, const std::vector<int64_t>& prefixes,
                       at::Device device) {
  std::vector<int32_t> query_starts{0}, key_starts{0};
  std::vector<int64_t> key_rows;
  VarlenPlan plan;
  plan.places = packed_rows(lengths, prefixes);
  const auto add_rows = [&](int64_t begin, int64_t count) {
    const auto size = static_cast<int64_t>(key_rows.size());
    key_rows.resize(static_cast<size_t>(size + count));
    std::iota(key_rows.begin() + size, key_rows.end(), begin);
  };
  for (size_t i = 0; i < lengths.size(); ++i) {
    const bool continues = !prefixes.empty() && prefixes[i] >= 0;
    const auto before = continues ? static_cast<size_t>(prefixes[i]) : 0;
    const int64_t keys = lengths[i] + (continues ? lengths[before] : 0);
    if (continues) add_rows(query_starts[before], lengths[before]);
    add_rows(query_starts[i], lengths[i]);
    query_starts.push_back(query_starts[i] + static_cast<int32_t>(lengths[i]));
    key_starts.push_back(key_starts[i] + static_cast<int32_t>(keys));
    plan.longest_query = std::max(plan.longest_query, lengths[i]);
    plan.longest_key = std::max(plan.longest_key, keys);
  }
  plan.query_starts = on_device(at::tensor(query_starts, at::kInt), device);
  plan.key_starts = on_device(at::tensor(key_starts, at::kInt), device);
  if (key_starts.back() != query_starts.back()) {
    plan.key_rows = on_device(at::tensor(key_rows, at::kLong), device);
  }
  return plan;
}

at::Tensor varlen_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const VarlenPlan& plan, const AttentionRule& rule) {
  const at::ScalarType dtype = query.scalar_type();
  if (!query.is_cuda() || dtype == at::kDouble || !rule.within(plan.longest_key).only_scaled()) {
    return varlen_attention_plain(query, key, value, plan, rule);
  }
  const at::Tensor keys = keys_of(key, plan), values = keys_of(value, plan);
  const std::optional<double> scale = rule.given_scale();
  const bool narrow = dtype == at::kBFloat16 || dtype == at::kHalf;
  const bool fits = narrow && query.size(2) % 8 == 0 && query.size(2) <= 256;
  return (fits ? flash(query, keys, values, plan, scale)
               : memory_efficient(query, keys, values, plan, scale))
      .flatten(1);
}

at::Tensor varlen_attention_plain(const at::Tensor& query, const at::Tensor& key,
                                  const at::Tensor& value, const VarlenPlan& plan,
                                  const AttentionRule& given_rule) {
  const AttentionRule rule = given_rule.within(plan.longest_key);
  if (!rule.only_scaled()) return ruled_attention(query, key, value, plan.places, rule);
  const at::Tensor keys = keys_of(key, plan), values = keys_of(value, plan);
  const std::vector<int64_t> query_starts = on_host(plan.query_starts);
  const std::vector<int64_t> key_starts = on_host(plan.key_starts);
  std::vector<at::Tensor> outputs;
  for (size_t i = 0; i + 1 < query_starts.size(); ++i) {
    const int64_t rows = query_starts[i + 1] - query_starts[i];
    const int64_t seen = key_starts[i + 1] - key_starts[i];
    const at::Tensor last_seen = at::arange(seen - rows, seen).unsqueeze(1);
    const at::Tensor mask = on_device(at::arange(seen).unsqueeze(0).le(last_seen), query.device());
    const at::Tensor output = at::scaled_dot_product_attention(
        heads_first(query.narrow(0, query_starts[i], rows)),
        heads_first(keys.narrow(0, key_starts[i], seen)),
        heads_first(values.narrow(0, key_starts[i], seen)), mask, /*dropout_p=*/0.0,
        /*is_causal=*/false, rule.given_scale(), /*enable_gqa=*/query.size(1) != key.size(1));
    outputs.push_back(output.squeeze(0).transpose(0, 1).flatten(1));
  }
  return at::cat(outputs);
}

}  // namespace leash

// Only tokens that can stay are ever looked at one by one: blocks whose largest logit is too small
// are passed over, and top-p sorts no further than its mass reaches.
#include "rollout/truncation.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace leash {
namespace {

constexpr int64_t kBlock = RowSoftmax::kBlock;

// The k-th largest logit. The k-th largest of the block maxima is a lower bound for it (k blocks
// hold a logit at least that large), so that few logits take part in the selection.
float kth_largest(std::span<const float> logits, std::span<const float> maxima, int64_t k) {
  float bound = -std::numeric_limits<float>::infinity();
  if (k <= static_cast<int64_t>(maxima.size())) {
    std::vector<float> order(maxima.begin(), maxima.end());
    std::nth_element(order.begin(), order.begin() + (k - 1), order.end(), std::greater<>());
    bound = order[static_cast<size_t>(k - 1)];
  }
  std::vector<float> candidates;
  for (size_t block = 0; block < maxima.size(); ++block) {
    if (maxima[block] < bound) continue;
    const size_t begin = block * kBlock, end = std::min(begin + kBlock, logits.size());
    for (size_t i = begin; i < end; ++i) {
      if (logits[i] >= bound) candidates.push_back(logits[i]);
    }
  }
  std::nth_element(candidates.begin(), candidates.begin() + (k - 1), candidates.end(),
                   std::greater<>());
  return candidates[static_cast<size_t>(k - 1)];
}

// Tokens with at least this logit and this weight, in the order of their ids.
std::vector<KeptToken> collect(std::span<const float> logits, const RowSoftmax& softmax,
                               std::span<const float> maxima, float least_logit,
                               float least_weight) {
  std::vector<KeptToken> tokens;
  float weights[kBlock];
  for (size_t block = 0; block < maxima.size(); ++block) {
    if (maxima[block] < least_logit) continue;
    softmax.weights(static_cast<int64_t>(block), weights);
    const size_t begin = block * kBlock, end = std::min(begin + kBlock, logits.size());
    for (size_t i = begin; i < end; ++i) {
      const float weight = weights[i - begin];
      if (logits[i] >= least_logit && weight > 0 && weight >= least_weight) {
        tokens.push_back({static_cast<int64_t>(i), logits[i], weight});
      }
    }
  }
  return tokens;
}

// Keeps the likeliest tokens until those before hold `mass`. Among equal logits the first id counts
// as the likeliest (transformers sorts without stability: there it is anyone's guess).
void keep_nucleus(std::vector<KeptToken>& tokens, double mass) {
  const auto less_likely = [](const KeptToken& a, const KeptToken& b) {
    return a.logit != b.logit ? a.logit < b.logit : a.token > b.token;
  };
  std::make_heap(tokens.begin(), tokens.end(), less_likely);
  auto rest = tokens.end();
  for (double before = 0; rest != tokens.begin() && before < mass;) {
    std::pop_heap(tokens.begin(), rest, less_likely);
    --rest;
    before += rest->weight;
  }
  tokens.erase(tokens.begin(), rest);
}

double total_weight(std::span<const KeptToken> tokens) {
  double total = 0;
  for (const KeptToken& token : tokens) total += token.weight;
  return total;
}

}  // namespace

std::vector<KeptToken> kept_tokens(std::span<const float> logits, const RowSoftmax& softmax,
                                   const SamplingConfig& config) {
  const int64_t vocab = static_cast<int64_t>(logits.size());
  const std::vector<float> maxima = block_maxima(logits);
  float least_logit = -std::numeric_limits<float>::infinity();
  if (config.top_k > 0 && config.top_k < vocab) {
    least_logit = kth_largest(logits, maxima, config.top_k);
  }
  const bool nucleus = config.top_p < 1.0;
  float least_weight = nucleus ? 0.0f : static_cast<float>(config.min_p);
  if (nucleus && config.top_k == 0) {
    // All tokens below this weight together hold less than the mass that top-p leaves out.
    least_weight =
        static_cast<float>((1.0 - config.top_p) * softmax.sum() / static_cast<double>(vocab)) / 2;
    least_weight = std::min(least_weight, 1.0f);
  }
  std::vector<KeptToken> kept = collect(logits, softmax, maxima, least_logit, least_weight);
  if (nucleus) {
    keep_nucleus(kept, config.top_p * (config.top_k > 0 ? total_weight(kept) : softmax.sum()));
    std::erase_if(kept, [&](const KeptToken& token) {
      return token.weight < static_cast<float>(config.min_p);
    });
  }
  std::sort(kept.begin(), kept.end(),
            [](const KeptToken& a, const KeptToken& b) { return a.token < b.token; });
  return kept;
}

KeptDraw draw_kept(std::span<const KeptToken> kept, double uniform) {
  const double total = total_weight(kept);
  const KeptToken* drawn = &kept.back();  // rounding may leave the target past the end
  double cumulative = 0;
  for (const KeptToken& token : kept) {
    cumulative += token.weight;
    if (cumulative > uniform * total) {
      drawn = &token;
      break;
    }
  }
  return {drawn->token, std::log(drawn->weight / total)};
}

}  // namespace leash

// Top-k, top-p and min-p: which tokens may be drawn. Order and meaning are transformers': top-k,
// then top-p of what is left, then min-p.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "rollout/row_softmax.h"
#include "rollout/sampling.h"

namespace leash {

struct KeptToken {
  int64_t token = 0;
  float logit = 0;
  float weight = 0;  // exp((logit - largest) / temperature)
};

// The tokens that stay, in the order of their ids; at least the likeliest one.
std::vector<KeptToken> kept_tokens(std::span<const float> logits /* [vocab] */,
                                   const RowSoftmax& softmax, const SamplingConfig& config);

// The token at which the cumulative weight passes `uniform`, and its log-prob among `kept`.
struct KeptDraw {
  int64_t token = 0;
  double logprob = 0;
};
KeptDraw draw_kept(std::span<const KeptToken> kept, double uniform);

}  // namespace leash

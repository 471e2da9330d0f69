#include "rollout/token_scores.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <numeric>

#include "rollout/row_softmax.h"

namespace leash {
namespace {

// Blocks whose largest logit is below that of `count` others hold none of the likeliest.
std::vector<int64_t> likeliest(std::span<const float> logits, int64_t count) {
  constexpr size_t kBlock = RowSoftmax::kBlock;
  const auto more = [](std::span<const float> values) {
    return [values](int64_t a, int64_t b) {
      const float left = values[static_cast<size_t>(a)], right = values[static_cast<size_t>(b)];
      return left != right ? left > right : a < b;
    };
  };
  const std::vector<float> maxima = block_maxima(logits);
  std::vector<int64_t> blocks(maxima.size());
  std::iota(blocks.begin(), blocks.end(), 0);
  const int64_t kept = std::min<int64_t>(count, std::ssize(blocks));
  std::partial_sort(blocks.begin(), blocks.begin() + kept, blocks.end(), more(maxima));
  std::vector<int64_t> tokens;
  for (int64_t i = 0; i < kept; ++i) {
    const size_t begin = static_cast<size_t>(blocks[static_cast<size_t>(i)]) * kBlock;
    for (size_t t = begin; t < std::min(begin + kBlock, logits.size()); ++t) {
      tokens.push_back(static_cast<int64_t>(t));
    }
  }
  count = std::min<int64_t>(count, std::ssize(tokens));
  std::partial_sort(tokens.begin(), tokens.begin() + count, tokens.end(), more(logits));
  tokens.resize(static_cast<size_t>(count));
  return tokens;
}

ScoredToken score_row(std::span<const float> logits, int64_t target, int64_t num_top) {
  const RowSoftmax softmax(logits, /*temperature=*/1.0);
  ScoredToken scored{.token = target, .logprob = softmax.logprob(target), .top = {}};
  if (num_top == 0) return scored;
  for (const int64_t token : likeliest(logits, num_top)) {
    scored.top.push_back({.token = token, .logprob = softmax.logprob(token)});
  }
  return scored;
}

}  // namespace

std::vector<ScoredToken> score_rows(const at::Tensor& logits, std::span<const int64_t> targets,
                                    int64_t num_top) {
  TORCH_CHECK(logits.dim() == 2 && logits.scalar_type() == at::kFloat && logits.is_cpu() &&
                  logits.size(0) == std::ssize(targets) && num_top >= 0,
              "scores take fp32 logits [rows, vocab] on the CPU and a target for each row, not ",
              logits.toString(), " ", logits.sizes());
  const auto vocab = static_cast<size_t>(logits.size(1));
  const at::Tensor contiguous = logits.contiguous();
  const float* data = contiguous.const_data_ptr<float>();
  std::vector<ScoredToken> scored(targets.size());
  at::parallel_for(0, std::ssize(targets), 1, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      scored[i] = score_row({data + i * vocab, vocab}, targets[i], num_top);
    }
  });
  return scored;
}

}  // namespace leash

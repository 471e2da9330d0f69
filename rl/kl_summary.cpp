#include "rl/kl_summary.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace leash {
namespace {

using PerText = std::vector<std::vector<double>>;  // [text][position]

KlMeasure measure(const PerText& values) {
  std::vector<double> sums;
  int64_t num_tokens = 0;
  for (const auto& text : values) {
    sums.push_back(std::accumulate(text.begin(), text.end(), 0.0));
    num_tokens += static_cast<int64_t>(text.size());
  }
  const double total = std::accumulate(sums.begin(), sums.end(), 0.0);
  return {num_tokens == 0 ? 0 : total / static_cast<double>(num_tokens), mean_interval(sums)};
}

MeanInterval at_position(const PerText& values, size_t j) {
  std::vector<double> there;
  for (const auto& text : values) {
    if (j < text.size()) there.push_back(text[j]);
  }
  return mean_interval(there);
}

}  // namespace

double k3_estimate(double log_ratio) { return std::expm1(-log_ratio) + log_ratio; }

KlSummary summarize_kl(std::span<const KlText> texts) {
  PerText kl, k1, k3;
  size_t longest = 0;
  KlSummary summary;
  for (const KlText& text : texts) {
    kl.push_back(text.kl);
    k1.emplace_back();
    k3.emplace_back();
    for (size_t j = 0; j < text.kl.size(); ++j) {
      k1.back().push_back(text.log_ratio(j));
      k3.back().push_back(k3_estimate(text.log_ratio(j)));
    }
    longest = std::max(longest, text.kl.size());
    summary.num_tokens += static_cast<int64_t>(text.kl.size());
  }
  summary.num_texts = static_cast<int64_t>(texts.size());
  summary.kl = measure(kl);
  summary.k1 = measure(k1);
  summary.k3 = measure(k3);
  for (size_t j = 0; j < longest; ++j) {
    summary.positions.push_back(
        {static_cast<int64_t>(j) + 1, at_position(kl, j), at_position(k1, j), at_position(k3, j)});
  }
  return summary;
}

std::vector<KlPositionRange> position_ranges(const KlSummary& summary) {
  std::vector<KlPositionRange> ranges;
  const auto count = static_cast<int64_t>(summary.positions.size());
  for (int64_t first = 1, last = 1; first <= count; first = last + 1, last = 2 * (first - 1)) {
    last = std::min(last, count);
    KlPositionRange range{.first = first, .last = last};
    for (int64_t position = first; position <= last; ++position) {
      const KlPosition& at = summary.positions[static_cast<size_t>(position - 1)];
      const auto n = static_cast<double>(at.kl.n);
      range.num_tokens += at.kl.n;
      range.kl += n * at.kl.mean;
      range.k1 += n * at.k1.mean;
      range.k3 += n * at.k3.mean;
    }
    const auto n = static_cast<double>(range.num_tokens);
    range.kl /= n;
    range.k1 /= n;
    range.k3 /= n;
    ranges.push_back(range);
  }
  return ranges;
}

}  // namespace leash

#include "rl/report/kl_summary.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

namespace leash {
namespace {

struct TextValues {
  int64_t prompt = 0;
  std::vector<double> at;  // [position]
};
using PerText = std::vector<TextValues>;

// One observation per prompt: the mean of what its texts have.
class PromptMeans {
 public:
  void add(int64_t prompt, double value) {
    auto& [sum, count] = sums_[prompt];
    sum += value;
    ++count;
  }
  MeanInterval interval() const {
    std::vector<double> means;
    for (const auto& [prompt, entry] : sums_) means.push_back(entry.first / entry.second);
    return mean_interval(means);
  }

 private:
  std::map<int64_t, std::pair<double, double>> sums_;
};

KlMeasure measure(const PerText& values) {
  PromptMeans sums;
  double total = 0;
  int64_t num_tokens = 0;
  for (const TextValues& text : values) {
    const double sum = std::accumulate(text.at.begin(), text.at.end(), 0.0);
    sums.add(text.prompt, sum);
    total += sum;
    num_tokens += static_cast<int64_t>(text.at.size());
  }
  return {num_tokens == 0 ? 0 : total / static_cast<double>(num_tokens), sums.interval()};
}

MeanInterval at_position(const PerText& values, size_t j) {
  PromptMeans there;
  for (const TextValues& text : values) {
    if (j < text.at.size()) there.add(text.prompt, text.at[j]);
  }
  return there.interval();
}

double sum_at_position(const PerText& values, size_t j) {
  double sum = 0;
  for (const TextValues& text : values) sum += j < text.at.size() ? text.at[j] : 0;
  return sum;
}

}  // namespace

double k3_estimate(double log_ratio) { return std::expm1(-log_ratio) + log_ratio; }

KlSummary summarize_kl(std::span<const KlText> texts) {
  PerText kl, k1, k3;
  size_t longest = 0;
  KlSummary summary;
  for (const KlText& text : texts) {
    kl.push_back({text.prompt, text.kl});
    k1.push_back({text.prompt, {}});
    k3.push_back({text.prompt, {}});
    for (size_t j = 0; j < text.kl.size(); ++j) {
      k1.back().at.push_back(text.log_ratio(j));
      k3.back().at.push_back(k3_estimate(text.log_ratio(j)));
    }
    longest = std::max(longest, text.kl.size());
    summary.num_tokens += static_cast<int64_t>(text.kl.size());
  }
  summary.num_texts = static_cast<int64_t>(texts.size());
  summary.kl = measure(kl);
  summary.k1 = measure(k1);
  summary.k3 = measure(k3);
  for (size_t j = 0; j < longest; ++j) {
    const auto long_enough =
        std::ranges::count_if(texts, [j](const KlText& text) { return j < text.kl.size(); });
    summary.positions.push_back({.position = static_cast<int64_t>(j) + 1,
                                 .num_texts = long_enough,
                                 .kl = at_position(kl, j),
                                 .k1 = at_position(k1, j),
                                 .k3 = at_position(k3, j),
                                 .kl_sum = sum_at_position(kl, j),
                                 .k1_sum = sum_at_position(k1, j),
                                 .k3_sum = sum_at_position(k3, j)});
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
      range.num_tokens += at.num_texts;
      range.kl += at.kl_sum;
      range.k1 += at.k1_sum;
      range.k3 += at.k3_sum;
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

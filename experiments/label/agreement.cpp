#include "experiments/label/agreement.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "models/random/random.h"

namespace leash::label {
namespace {

constexpr int kRounds = 2000;

// The value below which `part` of the sorted values lie, between neighbours in proportion.
double part_of_sorted(const std::vector<double>& sorted, double part) {
  const double at = part * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

// `value` of drawn indices below `items`, many times over.
std::optional<Interval> bootstrap(
    size_t items, uint64_t seed,
    const std::function<std::optional<double>(const std::vector<size_t>&)>& value) {
  if (items < 2) return std::nullopt;
  std::vector<double> values;
  std::vector<size_t> drawn(items);
  for (int round = 0; round < kRounds; ++round) {
    const DrawKey key{
        .seed = seed, .purpose = Purpose::bootstrap, .a = static_cast<uint64_t>(round)};
    for (size_t i = 0; i < items; ++i) {
      const double u = draw_uniform(key, i) * static_cast<double>(items);
      drawn[i] = std::min(static_cast<size_t>(u), items - 1);
    }
    if (const auto one = value(drawn)) values.push_back(*one);
  }
  if (values.empty()) return std::nullopt;
  std::ranges::sort(values);
  return Interval{part_of_sorted(values, 0.025), part_of_sorted(values, 0.975)};
}

std::vector<size_t> all_of(size_t items) {
  std::vector<size_t> all(items);
  for (size_t i = 0; i < items; ++i) all[i] = i;
  return all;
}

std::optional<double> kappa(std::span<const int> a, std::span<const int> b,
                            const std::vector<size_t>& items) {
  const auto n = static_cast<double>(items.size());
  std::map<int, double> shares_a, shares_b;
  double observed = 0, expected = 0;
  for (const size_t i : items) {
    observed += a[i] == b[i] ? 1 / n : 0;
    shares_a[a[i]] += 1 / n;
    shares_b[b[i]] += 1 / n;
  }
  for (const auto& [category, share] : shares_a) expected += share * shares_b[category];
  const bool varied = shares_a.size() > 1 || shares_b.size() > 1;
  if (!varied) return std::nullopt;
  return (observed - expected) / (1 - expected);
}

// What one thing adds to alpha's sums.
struct Thing {
  std::vector<std::pair<int, double>> counts;  // n_uc by category
  double equal = 0;                            // Σ_c n_uc (n_uc - 1) / (m_u - 1)
  double values = 0;                           // m_u
};

Thing thing_of(const std::vector<int>& said) {
  std::map<int, double> counts;
  for (const int category : said) counts[category] += 1;
  Thing thing{.counts = {counts.begin(), counts.end()}, .values = static_cast<double>(said.size())};
  for (const auto& [category, n] : counts) thing.equal += n * (n - 1) / (thing.values - 1);
  return thing;
}

std::optional<double> alpha(const std::vector<Thing>& things, const std::vector<size_t>& items) {
  std::map<int, double> counts;
  double n = 0, equal = 0;
  for (const size_t i : items) {
    n += things[i].values;
    equal += things[i].equal;
    for (const auto& [category, count] : things[i].counts) counts[category] += count;
  }
  if (counts.size() < 2) return std::nullopt;
  double squares = 0;
  for (const auto& [category, count] : counts) squares += count * count;
  return 1 - (n - 1) * (n - equal) / (n * n - squares);
}

}  // namespace

Agreement cohen_kappa(std::span<const int> a, std::span<const int> b, uint64_t seed) {
  TORCH_CHECK(a.size() == b.size(), "both said something of each thing");
  Agreement result{.items = static_cast<int64_t>(a.size()),
                   .values = static_cast<int64_t>(2 * a.size())};
  if (a.empty()) return result;
  for (size_t i = 0; i < a.size(); ++i) result.observed += a[i] == b[i] ? 1 : 0;
  result.observed /= static_cast<double>(a.size());
  result.chance_corrected = kappa(a, b, all_of(a.size()));
  if (result.chance_corrected) {
    result.ci95 = bootstrap(a.size(), seed,
                            [&](const std::vector<size_t>& drawn) { return kappa(a, b, drawn); });
  }
  return result;
}

Agreement krippendorff_alpha(const std::vector<std::vector<int>>& things, uint64_t seed) {
  std::vector<Thing> kept;
  Agreement result;
  double pairs = 0;
  for (const std::vector<int>& said : things) {
    if (said.size() < 2) continue;
    kept.push_back(thing_of(said));
    result.values += static_cast<int64_t>(said.size());
    // Every pair of judgements of one thing counts once.
    pairs += kept.back().values * (kept.back().values - 1);
    result.observed += kept.back().equal * (kept.back().values - 1);
  }
  result.items = static_cast<int64_t>(kept.size());
  if (kept.empty()) return result;
  result.observed /= pairs;
  result.chance_corrected = alpha(kept, all_of(kept.size()));
  if (result.chance_corrected) {
    result.ci95 = bootstrap(kept.size(), seed,
                            [&](const std::vector<size_t>& drawn) { return alpha(kept, drawn); });
  }
  return result;
}

}  // namespace leash::label

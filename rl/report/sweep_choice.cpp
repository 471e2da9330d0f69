#include "rl/report/sweep_choice.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace leash {
namespace {

constexpr size_t kFewestPrompts = 4;

// The numbers of the prompts 0, 2, 4, … or 1, 3, 5, …
std::vector<double> half_of(const std::vector<double>& values, size_t first) {
  std::vector<double> half;
  for (size_t i = first; i < values.size(); i += 2) half.push_back(values[i]);
  return half;
}

double half_mean(const std::vector<double>& values, size_t first) {
  return mean_interval(half_of(values, first)).mean;
}

struct HalfChoice {
  const SweepCandidate* best = nullptr;
  double lead = 0;        // over the mean of all that were eligible, on the choosing half
  double other_lead = 0;  // on the other half
  size_t candidates = 0;
};

HalfChoice choose_on(std::span<const SweepCandidate* const> all, std::optional<double> max_kl,
                     size_t first) {
  HalfChoice choice;
  double mean = 0, other_mean = 0, highest = 0;
  for (const SweepCandidate* each : all) {
    const double reward = half_mean(each->rewards, first);
    if (!std::isfinite(reward)) continue;
    if (max_kl && !(half_mean(each->kls, first) <= *max_kl)) continue;
    ++choice.candidates;
    mean += reward;
    other_mean += half_mean(each->rewards, 1 - first);
    if (choice.best == nullptr || reward > highest) choice.best = each, highest = reward;
  }
  if (choice.best == nullptr) return choice;
  const auto count = static_cast<double>(choice.candidates);
  choice.lead = highest - mean / count;
  choice.other_lead = half_mean(choice.best->rewards, 1 - first) - other_mean / count;
  return choice;
}

}  // namespace

std::optional<SweepChoice> choose_best(std::span<const SweepCandidate> candidates,
                                       std::optional<double> max_kl) {
  std::vector<const SweepCandidate*> all;
  for (const SweepCandidate& each : candidates) {
    const bool alike = each.rewards.size() == candidates.front().rewards.size() &&
                       each.kls.size() == each.rewards.size();
    if (alike) all.push_back(&each);
  }
  if (all.empty() || all.front()->rewards.size() < kFewestPrompts) return std::nullopt;
  const HalfChoice even = choose_on(all, max_kl, 0), odd = choose_on(all, max_kl, 1);
  if (even.best == nullptr) return std::nullopt;
  double excess = even.lead - even.other_lead;
  if (odd.best != nullptr) excess = (excess + odd.lead - odd.other_lead) / 2;
  return SweepChoice{.candidate = static_cast<size_t>(even.best - candidates.data()),
                     .reward = mean_interval(half_of(even.best->rewards, 1)),
                     .kl = mean_interval(half_of(even.best->kls, 1)),
                     .flattered = half_mean(even.best->rewards, 0),
                     .by_choosing = excess,
                     .candidates = even.candidates};
}

std::vector<size_t> reward_frontier(std::span<const FrontierPoint> points) {
  std::vector<size_t> order;
  for (size_t i = 0; i < points.size(); ++i) {
    if (std::isfinite(points[i].kl) && std::isfinite(points[i].reward)) order.push_back(i);
  }
  std::ranges::stable_sort(order, [&](size_t a, size_t b) {
    return points[a].kl != points[b].kl ? points[a].kl < points[b].kl
                                        : points[a].reward > points[b].reward;
  });
  std::vector<size_t> frontier;
  for (const size_t i : order) {
    if (frontier.empty() || points[i].reward > points[frontier.back()].reward) {
      frontier.push_back(i);
    }
  }
  return frontier;
}

}  // namespace leash

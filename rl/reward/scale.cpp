#include "rl/reward/scale.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>

#include "rl/reward/labels.h"

namespace leash {

void RunningMoments::add(double score) {
  ++count;
  const double before = score - mean;
  mean += before / static_cast<double>(count);
  squares += before * (score - mean);
}

double RunningMoments::deviation() const {
  return count > 1 ? std::sqrt(squares / static_cast<double>(count - 1)) : 0.0;
}

double RunningMoments::normalized(double score) const {
  const double by = deviation();
  return by > 0 ? (score - mean) / by : 0.0;
}

bool normalizes(const std::vector<RewardConfig>& configs) {
  return std::ranges::any_of(
      configs, [](const RewardConfig& config) { return config.normalize == Normalize::running; });
}

double clipped(const RewardConfig& config, double score) {
  return config.clip.size() == 2 ? std::clamp(score, config.clip[0], config.clip[1]) : score;
}

double plain_total(const std::vector<RewardConfig>& configs, std::span<const double> scores) {
  double total = 0;
  for (size_t i = 0; i < configs.size(); ++i) {
    const bool running = configs[i].normalize == Normalize::running;
    total += configs[i].weight * (running ? scores[i] : clipped(configs[i], scores[i]));
  }
  return total;
}

std::vector<double> running_totals(const std::vector<RewardConfig>& configs,
                                   const std::vector<std::vector<double>>& scores,
                                   std::vector<RunningMoments>& moments) {
  std::vector<double> totals(scores.size(), 0.0);
  size_t next = 0;
  for (size_t source = 0; source < configs.size(); ++source) {
    const RewardConfig& config = configs[source];
    RunningMoments* own = nullptr;
    if (config.normalize == Normalize::running) {
      TORCH_CHECK(next < moments.size(), "moments of each source that normalises");
      own = &moments[next++];
      for (const std::vector<double>& row : scores) own->add(row[source]);
    }
    for (size_t i = 0; i < scores.size(); ++i) {
      const double score = scores[i][source];
      totals[i] += config.weight * clipped(config, own != nullptr ? own->normalized(score) : score);
    }
  }
  return totals;
}

std::vector<RunningMoments> fresh_moments(const std::vector<RewardConfig>& configs,
                                          const std::vector<RunningMoments>& saved) {
  std::vector<RunningMoments> moments;
  const std::vector<std::string> labels = reward_labels(configs);
  for (size_t i = 0; i < configs.size(); ++i) {
    if (configs[i].normalize != Normalize::running) continue;
    const auto same = std::ranges::find(saved, labels[i], &RunningMoments::label);
    moments.push_back(same != saved.end() ? *same : RunningMoments{.label = labels[i]});
  }
  return moments;
}

}  // namespace leash

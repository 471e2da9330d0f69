#include "rl/reward_model/evaluation.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "models/errors.h"
#include "models/io/atomic_file.h"
#include "models/io/json_file.h"
#include "rl/statistics/band.h"
#include "rl/statistics/clustered_statistics.h"

namespace leash {
namespace {

constexpr int64_t kMostBins = 8;
constexpr int64_t kFewestPairsInABin = 10;
constexpr uint64_t kBootstrapSeed = 0;  // the same resamples in every evaluation

// One value per pair with the pair's prompt as its group.
template <class Value>
MeanInterval over_pairs(const std::vector<ScoredPair>& pairs, const Value& value,
                        MeanInterval (*interval)(std::span<const double>,
                                                 std::span<const int64_t>)) {
  std::vector<double> values;
  std::vector<int64_t> groups;
  for (const ScoredPair& pair : pairs) {
    values.push_back(value(pair));
    groups.push_back(pair.prompt);
  }
  return interval(values, groups);
}

// 1 for a > b, a half for equal ones.
double is_more(double a, double b) { return a > b ? 1.0 : (a == b ? 0.5 : 0.0); }

double confidence(const ScoredPair& pair) {
  return preference_probability(std::max(pair.chosen, pair.rejected),
                                std::min(pair.chosen, pair.rejected));
}

CalibrationBin bin_of(const std::vector<ScoredPair>& pairs) {
  double expected = 0;
  for (const ScoredPair& pair : pairs) expected += confidence(pair);
  return {.expected = expected / static_cast<double>(pairs.size()),
          .observed = over_pairs(
              pairs, [](const ScoredPair& pair) { return is_more(pair.chosen, pair.rejected); },
              &clustered_share)};
}

}  // namespace

double RewardEvaluation::loss(const RewardLossOptions& options) const {
  if (pairs.empty()) return 0;
  std::vector<double> chosen, rejected, margins;
  for (const ScoredPair& pair : pairs) {
    chosen.push_back(pair.chosen);
    rejected.push_back(pair.rejected);
    margins.push_back(pair.margin);
  }
  RewardLossOptions plain = options;
  plain.label_smoothing = 0;
  return reward_loss(at::tensor(chosen, at::kDouble), at::tensor(rejected, at::kDouble),
                     at::tensor(margins, at::kDouble), plain, static_cast<double>(pairs.size()))
      .item<double>();
}

MeanInterval RewardEvaluation::accuracy() const {
  return over_pairs(
      pairs, [](const ScoredPair& pair) { return pair.chosen > pair.rejected ? 1.0 : 0.0; },
      &clustered_share);
}

MeanInterval RewardEvaluation::margin() const {
  return over_pairs(
      pairs, [](const ScoredPair& pair) { return pair.chosen - pair.rejected; }, &clustered_mean);
}

MeanInterval RewardEvaluation::reward() const {
  return over_pairs(
      pairs, [](const ScoredPair& pair) { return (pair.chosen + pair.rejected) / 2; },
      &clustered_mean);
}

MeanInterval RewardEvaluation::length_correlation() const {
  std::vector<double> scores, lengths;
  std::vector<int64_t> groups;
  for (const ScoredPair& pair : pairs) {
    scores.insert(scores.end(), {pair.chosen, pair.rejected});
    lengths.insert(lengths.end(), {static_cast<double>(pair.chosen_length),
                                   static_cast<double>(pair.rejected_length)});
    groups.insert(groups.end(), {pair.prompt, pair.prompt});
  }
  return clustered_correlation(scores, lengths, groups, kBootstrapSeed);
}

MeanInterval RewardEvaluation::longer_chosen() const {
  return over_pairs(
      pairs,
      [](const ScoredPair& pair) {
        return is_more(static_cast<double>(pair.chosen_length),
                       static_cast<double>(pair.rejected_length));
      },
      &clustered_share);
}

std::vector<CalibrationBin> RewardEvaluation::calibration() const {
  std::vector<ScoredPair> sorted = pairs;
  std::ranges::stable_sort(sorted, {}, &confidence);
  const auto total = static_cast<int64_t>(sorted.size());
  const int64_t count = std::clamp<int64_t>(total / kFewestPairsInABin, 1, kMostBins);
  std::vector<CalibrationBin> bins;
  for (int64_t i = 0; i < count && total > 0; ++i) {
    bins.push_back(
        bin_of({sorted.begin() + i * total / count, sorted.begin() + (i + 1) * total / count}));
  }
  return bins;
}

double RewardEvaluation::calibration_error() const {
  double error = 0;
  for (const CalibrationBin& bin : calibration()) {
    error += std::abs(bin.expected - bin.observed.mean) * static_cast<double>(bin.observed.n);
  }
  return pairs.empty() ? 0 : error / static_cast<double>(pairs.size());
}

Metrics RewardEvaluation::metrics(const RewardLossOptions& options) const {
  Metrics metrics = {{"eval/loss", loss(options)}};
  add_with_band(metrics, "eval/accuracy", accuracy());
  add_with_band(metrics, "eval/margin", margin());
  double least = std::numeric_limits<double>::infinity(), most = -least;
  for (const ScoredPair& pair : pairs) {
    least = std::min({least, pair.chosen, pair.rejected});
    most = std::max({most, pair.chosen, pair.rejected});
  }
  metrics.emplace_back("eval/min_reward", least);
  metrics.emplace_back("eval/mean_reward", reward().mean);
  metrics.emplace_back("eval/max_reward", most);
  metrics.emplace_back("eval/calibration_error", calibration_error());
  add_with_band(metrics, "eval/length_correlation", length_correlation());
  return metrics;
}

std::string reward_evaluation_table(const RewardEvaluation& evaluation,
                                    const RewardLossOptions& options) {
  std::string table = fmt::format(
      "pairs                              {}\n"
      "loss                               {:.4f}\n"
      "accuracy [95 %]                    {}\n"
      "mean margin [95 %]                 {}\n"
      "score with length, correlation     {}\n"
      "chosen is the longer one           {}\n"
      "expected calibration error         {:.3f}\n\n"
      "{:>9}{:>9}{:>9}  right [95 %]\n",
      evaluation.pairs.size(), evaluation.loss(options), interval_text(evaluation.accuracy()),
      interval_text(evaluation.margin()), interval_text(evaluation.length_correlation()),
      interval_text(evaluation.longer_chosen()), evaluation.calibration_error(), "pairs",
      "expected", "right");
  for (const CalibrationBin& bin : evaluation.calibration()) {
    table += fmt::format("{:>9}{:>9.3f}{:>9.3f}", bin.observed.n, bin.expected, bin.observed.mean);
    if (bin.observed.ci95) {
      table += fmt::format("  [{:.3f}, {:.3f}]", bin.observed.ci95->low, bin.observed.ci95->high);
    }
    table += "\n";
  }
  return table;
}

void write_reward_evaluation(const std::filesystem::path& run_dir, int64_t step,
                             const RewardEvaluation& evaluation) {
  nlohmann::ordered_json pairs = nlohmann::ordered_json::array();
  for (const ScoredPair& pair : evaluation.pairs) {
    pairs.push_back({{"prompt", pair.prompt},
                     {"chosen", pair.chosen},
                     {"rejected", pair.rejected},
                     {"margin", pair.margin},
                     {"chosen_length", pair.chosen_length},
                     {"rejected_length", pair.rejected_length}});
  }
  std::filesystem::create_directories(run_dir / "evaluations");
  const nlohmann::ordered_json json = {{"step", step}, {"pairs", std::move(pairs)}};
  write_text_file(run_dir / "evaluations" / fmt::format("step-{}.json", step), json.dump(1));
}

RewardEvaluation read_reward_evaluation(const std::filesystem::path& file) {
  try {
    RewardEvaluation evaluation;
    const nlohmann::json json = read_json_file(file);
    for (const auto& pair : json.at("pairs")) {
      evaluation.pairs.push_back({.prompt = pair.at("prompt"),
                                  .chosen = number_or_nan(pair.at("chosen")),
                                  .rejected = number_or_nan(pair.at("rejected")),
                                  .margin = number_or_nan(pair.at("margin")),
                                  .chosen_length = pair.at("chosen_length"),
                                  .rejected_length = pair.at("rejected_length")});
    }
    return evaluation;
  } catch (const nlohmann::json::exception& error) {
    throw FormatError(file.string() + ": is no evaluation of pairs (" + error.what() + ")");
  }
}

}  // namespace leash

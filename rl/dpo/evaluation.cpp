#include "rl/dpo/evaluation.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "models/errors.h"
#include "models/io/atomic_file.h"
#include "models/io/json_file.h"
#include "rl/statistics/band.h"
#include "rl/statistics/clustered_statistics.h"

namespace leash {
namespace {

double chosen_logratio(const ComparedPair& pair) { return pair.chosen - pair.reference_chosen; }
double rejected_logratio(const ComparedPair& pair) {
  return pair.rejected - pair.reference_rejected;
}

template <class Value>
at::Tensor column_of(const std::vector<ComparedPair>& pairs, const Value& value) {
  std::vector<double> numbers;
  for (const ComparedPair& pair : pairs) numbers.push_back(static_cast<double>(value(pair)));
  return at::tensor(numbers, at::kDouble);
}

// One value per pair with the pair's prompt as its group.
template <class Value>
MeanInterval over_pairs(const std::vector<ComparedPair>& pairs, const Value& value,
                        MeanInterval (*interval)(std::span<const double>,
                                                 std::span<const int64_t>)) {
  std::vector<double> values;
  std::vector<int64_t> groups;
  for (const ComparedPair& pair : pairs) {
    values.push_back(value(pair));
    groups.push_back(pair.prompt);
  }
  return interval(values, groups);
}

template <class Value>
double mean_of(const std::vector<ComparedPair>& pairs, const Value& value) {
  double sum = 0;
  for (const ComparedPair& pair : pairs) sum += value(pair);
  return pairs.empty() ? 0 : sum / static_cast<double>(pairs.size());
}

nlohmann::ordered_json json_of(const ComparedPair& pair) {
  return {{"prompt", pair.prompt},
          {"chosen", pair.chosen},
          {"rejected", pair.rejected},
          {"reference_chosen", pair.reference_chosen},
          {"reference_rejected", pair.reference_rejected},
          {"chosen_plain", pair.chosen_plain},
          {"chosen_tokens", pair.chosen_tokens},
          {"rejected_tokens", pair.rejected_tokens},
          {"chosen_scored", pair.chosen_scored},
          {"rejected_scored", pair.rejected_scored},
          {"kl", pair.kl}};
}

ComparedPair compared_pair(const nlohmann::json& json) {
  return {.prompt = json.at("prompt"),
          .chosen = number_or_nan(json.at("chosen")),
          .rejected = number_or_nan(json.at("rejected")),
          .reference_chosen = number_or_nan(json.at("reference_chosen")),
          .reference_rejected = number_or_nan(json.at("reference_rejected")),
          .chosen_plain = number_or_nan(json.at("chosen_plain")),
          .chosen_tokens = json.at("chosen_tokens"),
          .rejected_tokens = json.at("rejected_tokens"),
          .chosen_scored = json.at("chosen_scored"),
          .rejected_scored = json.at("rejected_scored"),
          .kl = number_or_nan(json.at("kl"))};
}

}  // namespace

double DpoEvaluation::loss(const DpoLossOptions& options) const {
  if (pairs.empty()) return 0;
  using Pair = ComparedPair;
  const PairLogprobs logprobs{
      .chosen = column_of(pairs, [](const Pair& pair) { return pair.chosen; }),
      .rejected = column_of(pairs, [](const Pair& pair) { return pair.rejected; }),
      .reference_chosen = column_of(pairs, [](const Pair& pair) { return pair.reference_chosen; }),
      .reference_rejected =
          column_of(pairs, [](const Pair& pair) { return pair.reference_rejected; }),
      .chosen_plain = column_of(pairs, [](const Pair& pair) { return pair.chosen_plain; }),
      .rejected_plain = {},
      .chosen_tokens = column_of(pairs, [](const Pair& pair) { return pair.chosen_tokens; }),
      .rejected_tokens = column_of(pairs, [](const Pair& pair) { return pair.rejected_tokens; }),
      .ties = {}};
  double scored = 0;
  for (const ComparedPair& pair : pairs) scored += static_cast<double>(pair.chosen_scored);
  return dpo_loss(logprobs, options,
                  {.pairs = static_cast<double>(pairs.size()), .sft_tokens = scored})
      .item<double>();
}

MeanInterval DpoEvaluation::accuracy() const {
  return over_pairs(
      pairs,
      [](const ComparedPair& pair) {
        return chosen_logratio(pair) > rejected_logratio(pair) ? 1.0 : 0.0;
      },
      &clustered_share);
}

MeanInterval DpoEvaluation::margin(double beta) const {
  return over_pairs(
      pairs,
      [beta](const ComparedPair& pair) {
        return beta * (chosen_logratio(pair) - rejected_logratio(pair));
      },
      &clustered_mean);
}

MeanInterval DpoEvaluation::kl() const {
  return over_pairs(
      pairs, [](const ComparedPair& pair) { return pair.kl / 2; }, &clustered_mean);
}

double DpoEvaluation::kl_per_token() const {
  double kl = 0, tokens = 0;
  for (const ComparedPair& pair : pairs) {
    kl += pair.kl;
    tokens += static_cast<double>(pair.chosen_scored + pair.rejected_scored);
  }
  return tokens > 0 ? kl / tokens : 0;
}

Metrics DpoEvaluation::metrics(const DpoLossOptions& options) const {
  Metrics metrics = {{"eval/loss", loss(options)}};
  const double beta = options.beta;
  add_with_band(metrics, "eval/rewards/accuracies", accuracy());
  add_with_band(metrics, "eval/rewards/margins", margin(beta));
  const auto mean = [&](const char* name, auto&& value) {
    metrics.emplace_back(name, mean_of(pairs, value));
  };
  mean("eval/rewards/chosen", [&](const auto& pair) { return beta * chosen_logratio(pair); });
  mean("eval/rewards/rejected", [&](const auto& pair) { return beta * rejected_logratio(pair); });
  mean("eval/logps/chosen", [](const auto& pair) { return pair.chosen; });
  mean("eval/logps/rejected", [](const auto& pair) { return pair.rejected; });
  add_with_band(metrics, "eval/exact_kl", kl());
  metrics.emplace_back("eval/exact_kl_per_token", kl_per_token());
  return metrics;
}

std::string dpo_evaluation_table(const DpoEvaluation& evaluation, const DpoLossOptions& options) {
  return fmt::format(
      "pairs                                  {}\n"
      "loss                                   {:.4f}\n"
      "accuracy of rewards [95 %]             {}\n"
      "mean margin of rewards [95 %]          {}\n"
      "exact KL, nats per answer [95 %]       {}\n"
      "exact KL, nats per token               {:.5f}\n",
      evaluation.pairs.size(), evaluation.loss(options), interval_text(evaluation.accuracy()),
      interval_text(evaluation.margin(options.beta)), interval_text(evaluation.kl()),
      evaluation.kl_per_token());
}

void write_dpo_evaluation(const std::filesystem::path& run_dir, int64_t step,
                          const DpoEvaluation& evaluation) {
  nlohmann::ordered_json pairs = nlohmann::ordered_json::array();
  for (const ComparedPair& pair : evaluation.pairs) pairs.push_back(json_of(pair));
  std::filesystem::create_directories(run_dir / "evaluations");
  const nlohmann::ordered_json json = {{"step", step}, {"pairs", std::move(pairs)}};
  write_text_file(run_dir / "evaluations" / fmt::format("step-{}.json", step), json.dump(1));
}

DpoEvaluation read_dpo_evaluation(const std::filesystem::path& file) {
  try {
    DpoEvaluation evaluation;
    const nlohmann::json json = read_json_file(file);
    for (const auto& pair : json.at("pairs")) evaluation.pairs.push_back(compared_pair(pair));
    return evaluation;
  } catch (const nlohmann::json::exception& error) {
    throw FormatError(file.string() + ": is no evaluation of pairs (" + error.what() + ")");
  }
}

}  // namespace leash

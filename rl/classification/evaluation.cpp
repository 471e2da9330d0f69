#include "rl/classification/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "models/errors.h"
#include "models/io/atomic_file.h"
#include "models/io/json_file.h"
#include "rl/statistics/clustered_statistics.h"

namespace leash {
namespace {

double ratio(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0.0;
}

}  // namespace

double ClassificationEvaluation::loss() const {
  double sum = 0;
  for (const ClassifiedText& text : texts) sum += text.nll;
  return texts.empty() ? 0 : sum / static_cast<double>(texts.size());
}

MeanInterval ClassificationEvaluation::accuracy() const {
  std::vector<double> right;
  for (const ClassifiedText& text : texts) right.push_back(text.predicted == text.label ? 1 : 0);
  std::vector<int64_t> groups(right.size());  // each text by itself
  std::iota(groups.begin(), groups.end(), 0);
  return clustered_share(right, groups);
}

std::vector<std::vector<int64_t>> ClassificationEvaluation::confusion() const {
  std::vector<std::vector<int64_t>> table(classes.size(), std::vector<int64_t>(classes.size(), 0));
  for (const ClassifiedText& text : texts) {
    ++table[static_cast<size_t>(text.label)][static_cast<size_t>(text.predicted)];
  }
  return table;
}

std::vector<ClassScores> ClassificationEvaluation::scores() const {
  std::vector<ClassScores> all(classes.size());
  std::vector<int64_t> right(classes.size(), 0);
  for (const ClassifiedText& text : texts) {
    ++all[static_cast<size_t>(text.label)].texts;
    ++all[static_cast<size_t>(text.predicted)].predicted;
    if (text.label == text.predicted) ++right[static_cast<size_t>(text.label)];
  }
  for (size_t i = 0; i < all.size(); ++i) {
    all[i].precision = ratio(right[i], all[i].predicted);
    all[i].recall = ratio(right[i], all[i].texts);
    all[i].f1 = ratio(2 * right[i], all[i].texts + all[i].predicted);
  }
  return all;
}

double ClassificationEvaluation::macro_f1() const {
  double sum = 0;
  int64_t count = 0;
  for (const ClassScores& score : scores()) {
    if (score.texts + score.predicted == 0) continue;
    sum += score.f1;
    ++count;
  }
  return count > 0 ? sum / static_cast<double>(count) : 0;
}

Metrics ClassificationEvaluation::metrics() const {
  const MeanInterval right = accuracy();
  Metrics metrics = {{"eval/loss", loss()}, {"eval/accuracy", right.mean}};
  if (right.ci95) {
    metrics.emplace_back("eval/accuracy_low", right.ci95->low);
    metrics.emplace_back("eval/accuracy_high", right.ci95->high);
  }
  metrics.emplace_back("eval/macro_f1", macro_f1());
  return metrics;
}

std::string classification_table(const ClassificationEvaluation& evaluation) {
  size_t width = 5;
  for (const std::string& name : evaluation.classes) width = std::max(width, name.size());
  std::string table = fmt::format(
      "texts            {}\nloss             {:.4f}\naccuracy [95 %]  {}\nmacro F1         "
      "{:.4f}\n\n"
      "{:<{}}{:>8}{:>11}{:>11}{:>9}{:>9}\n",
      evaluation.texts.size(), evaluation.loss(), interval_text(evaluation.accuracy()),
      evaluation.macro_f1(), "class", width, "texts", "predicted", "precision", "recall", "F1");
  const std::vector<ClassScores> scores = evaluation.scores();
  for (size_t i = 0; i < scores.size(); ++i) {
    table += fmt::format("{:<{}}{:>8}{:>11}{:>11.3f}{:>9.3f}{:>9.3f}\n", evaluation.classes[i],
                         width, scores[i].texts, scores[i].predicted, scores[i].precision,
                         scores[i].recall, scores[i].f1);
  }
  return table;
}

void write_classification_evaluation(const std::filesystem::path& run_dir, int64_t step,
                                     const ClassificationEvaluation& evaluation) {
  nlohmann::ordered_json texts = nlohmann::ordered_json::array();
  for (const ClassifiedText& text : evaluation.texts) {
    texts.push_back({{"label", text.label},
                     {"predicted", text.predicted},
                     {"nll", text.nll},
                     {"confidence", text.confidence}});
  }
  std::filesystem::create_directories(run_dir / "evaluations");
  const nlohmann::ordered_json json = {
      {"step", step}, {"classes", evaluation.classes}, {"texts", std::move(texts)}};
  write_text_file(run_dir / "evaluations" / fmt::format("step-{}.json", step), json.dump(1));
}

ClassificationEvaluation read_classification_evaluation(const std::filesystem::path& file) {
  try {
    const nlohmann::json json = read_json_file(file);
    ClassificationEvaluation evaluation{.classes = json.at("classes").get<ClassNames>(),
                                        .texts = {}};
    const auto count = static_cast<int64_t>(evaluation.classes.size());
    for (const auto& text : json.at("texts")) {
      evaluation.texts.push_back({.label = text.at("label"),
                                  .predicted = text.at("predicted"),
                                  .nll = number_or_nan(text.at("nll")),
                                  .confidence = number_or_nan(text.at("confidence"))});
      for (const int64_t index :
           {evaluation.texts.back().label, evaluation.texts.back().predicted}) {
        if (index < 0 || index >= count) {
          throw FormatError(fmt::format("{}: there is no class {}", file.string(), index));
        }
      }
    }
    return evaluation;
  } catch (const nlohmann::json::exception& error) {
    throw FormatError(file.string() + ": is no evaluation of texts (" + error.what() + ")");
  }
}

}  // namespace leash

// How good a classifier is on texts that it does not train on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "models/io/snapshot.h"
#include "rl/classification/update.h"
#include "rl/data/labelled_texts.h"
#include "rl/run/task.h"
#include "rl/statistics/metrics.h"
#include "rl/statistics/statistics.h"

namespace leash {

// One class against all others. With tp texts of the class that were predicted so, fp that were
// predicted so wrongly and fn that were missed:
//   precision = tp / (tp + fp), recall = tp / (tp + fn), F1 = 2 tp / (2 tp + fp + fn)
// each 0 where its denominator is (as scikit-learn's zero_division=0).
struct ClassScores {
  int64_t texts = 0;      // of the class: tp + fn
  int64_t predicted = 0;  // as the class: tp + fp
  double precision = 0;
  double recall = 0;
  double f1 = 0;
};

struct ClassificationEvaluation {
  ClassNames classes = {};
  std::vector<ClassifiedText> texts = {};

  double loss() const;            // mean -log p(label), nats, without label smoothing
  MeanInterval accuracy() const;  // share of right ones, with Wilson's interval
  std::vector<ClassScores> scores() const;
  // The mean of F1 over the classes that occur among labels or predictions (scikit-learn's
  // f1_score with average="macro").
  double macro_f1() const;
  // [class of the text][predicted class] texts
  std::vector<std::vector<int64_t>> confusion() const;

  // eval/loss, eval/accuracy with eval/accuracy_low and _high, eval/macro_f1
  Metrics metrics() const;
};

// All figures, class by class.
std::string classification_table(const ClassificationEvaluation& evaluation);

// evaluations/step-N.json in a run's folder.
void write_classification_evaluation(const std::filesystem::path& run_dir, int64_t step,
                                     const ClassificationEvaluation& evaluation);
ClassificationEvaluation read_classification_evaluation(const std::filesystem::path& file);

// Held-out figures of a run, for `leash evaluate`. ConfigError without held-out data; FormatError.
TaskEvaluation evaluate_run(const ClassificationSetup& setup,
                            const std::optional<Snapshot>& snapshot);

}  // namespace leash

// `leash evaluate` of a classifier.
#include "models/errors.h"
#include "rl/classification/evaluation.h"
#include "rl/classification/trainer.h"
#include "rl/statistics/interval_json.h"

namespace leash {
namespace {

nlohmann::ordered_json classes_json(const ClassificationEvaluation& evaluation) {
  nlohmann::ordered_json classes = nlohmann::ordered_json::array();
  const std::vector<ClassScores> scores = evaluation.scores();
  for (size_t i = 0; i < scores.size(); ++i) {
    classes.push_back({{"label", evaluation.classes[i]},
                       {"texts", scores[i].texts},
                       {"predicted", scores[i].predicted},
                       {"precision", scores[i].precision},
                       {"recall", scores[i].recall},
                       {"f1", scores[i].f1}});
  }
  return {{"texts", evaluation.texts.size()},
          {"loss", evaluation.loss()},
          {"accuracy", interval_json(evaluation.accuracy())},
          {"macro_f1", evaluation.macro_f1()},
          {"classes", std::move(classes)},
          {"confusion", evaluation.confusion()}};
}

}  // namespace

TaskEvaluation evaluate_run(const ClassificationSetup& setup,
                            const std::optional<Snapshot>& snapshot) {
  Classifier classifier = load_classifier(setup);
  if (snapshot) read_classifier(snapshot->path, classifier);
  if (classifier.data.eval.texts.empty()) throw ConfigError(kNothingHeldOut);
  const ClassificationEvaluation evaluation =
      evaluate_texts(classifier, setup, *single_communicator());
  return {.text = "held-out data: " + classifier.data.eval.summary(classifier.data.classes) + "\n" +
                  classification_table(evaluation),
          .lines = {classes_json(evaluation)}};
}

}  // namespace leash

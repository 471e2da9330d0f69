// The classifier's loss by its formula, and what held-out texts say about it.
#include "rl/classification/evaluation.h"

#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "models/errors.h"
#include "rl/classification/class_labels.h"
#include "rl/classification/loss.h"
#include "tests/rl/json_tensors.h"
#include "tests/support/files.h"

namespace leash {
namespace {

using ::testing::HasSubstr;
using testing::ScratchFolder;
using testing::write_text;

double log_sum(const std::vector<double>& x) {
  double sum = 0;
  for (const double value : x) sum += std::exp(value);
  return std::log(sum);
}

TEST(ClassificationLoss, IsTheSmoothedCrossEntropy) {
  const std::vector<double> a = {0.3, -1.2, 2.0}, b = {1.0, 0.0, -0.5};
  const at::Tensor logits =
      at::tensor({a[0], a[1], a[2], b[0], b[1], b[2]}, at::kDouble).view({2, 3});
  const at::Tensor labels = at::tensor({2, 1}, at::kLong);
  const double first = log_sum(a) - a[2], second = log_sum(b) - b[1];
  EXPECT_NEAR(classification_loss(logits, labels, 0, 2).item<double>(), (first + second) / 2,
              1e-14);
  const double spread =
      log_sum(a) - (a[0] + a[1] + a[2]) / 3 + log_sum(b) - (b[0] + b[1] + b[2]) / 3;
  EXPECT_NEAR(classification_loss(logits, labels, 0.2, 4).item<double>(),
              (0.8 * (first + second) + 0.2 * spread) / 4, 1e-14);
}

ClassificationEvaluation evaluation_of(const nlohmann::json& golden) {
  ClassificationEvaluation evaluation{.classes = numbered_classes(golden["classes"]), .texts = {}};
  for (size_t i = 0; i < golden["labels"].size(); ++i) {
    evaluation.texts.push_back({.label = golden["labels"][i],
                                .predicted = golden["predicted"][i],
                                .nll = 0.25 * static_cast<double>(i),
                                .confidence = 0.5});
  }
  return evaluation;
}

TEST(GoldenClassMeasures, PrecisionRecallAndF1AreThoseOfTheirDefinitions) {
  const nlohmann::json cases = testing::read_golden("classification/measures.json");
  ASSERT_EQ(cases.size(), 3u);
  for (const auto& golden : cases) {
    const ClassificationEvaluation evaluation = evaluation_of(golden);
    const std::vector<ClassScores> scores = evaluation.scores();
    ASSERT_EQ(scores.size(), golden["scores"].size());
    for (size_t i = 0; i < scores.size(); ++i) {
      const auto& expected = golden["scores"][i];
      EXPECT_NEAR(scores[i].precision, expected["precision"].get<double>(), 1e-15) << i;
      EXPECT_NEAR(scores[i].recall, expected["recall"].get<double>(), 1e-15) << i;
      EXPECT_NEAR(scores[i].f1, expected["f1"].get<double>(), 1e-15) << i;
      EXPECT_EQ(scores[i].texts, expected["texts"]) << i;
      EXPECT_EQ(scores[i].predicted, expected["predicted"]) << i;
    }
    EXPECT_NEAR(evaluation.macro_f1(), golden["macro_f1"].get<double>(), 1e-15);
    EXPECT_NEAR(evaluation.accuracy().mean, golden["accuracy"].get<double>(), 1e-15);
  }
}

TEST(ClassificationEvaluation, FiguresByHand) {
  ClassificationEvaluation evaluation{
      .classes = {"neg", "pos"},
      .texts = {{.label = 0, .predicted = 0, .nll = 0.1, .confidence = 0.9},
                {.label = 0, .predicted = 1, .nll = 1.5, .confidence = 0.8},
                {.label = 1, .predicted = 1, .nll = 0.2, .confidence = 0.8},
                {.label = 1, .predicted = 1, .nll = 0.6, .confidence = 0.55}}};
  EXPECT_NEAR(evaluation.loss(), 0.6, 1e-15);
  // F1 of neg: 2 / (2 + 0 + 1); of pos: 4 / (4 + 1 + 0).
  EXPECT_NEAR(evaluation.macro_f1(), (2.0 / 3 + 4.0 / 5) / 2, 1e-15);
  EXPECT_EQ(evaluation.confusion(), (std::vector<std::vector<int64_t>>{{1, 1}, {0, 2}}));
  const MeanInterval accuracy = evaluation.accuracy();
  EXPECT_EQ(accuracy.mean, 0.75);
  ASSERT_TRUE(accuracy.ci95);
  EXPECT_GE(accuracy.ci95->low, 0);
  EXPECT_LE(accuracy.ci95->high, 1);
  EXPECT_LT(accuracy.ci95->low, 0.5);
  const Metrics metrics = evaluation.metrics();
  ASSERT_EQ(metrics.size(), 5u);
  EXPECT_EQ(metrics[0].first, "eval/loss");
  EXPECT_EQ(metrics[1], (std::pair<std::string, double>{"eval/accuracy", 0.75}));
  EXPECT_EQ(metrics[2].second, accuracy.ci95->low);
  EXPECT_EQ(metrics[4].first, "eval/macro_f1");
  EXPECT_THAT(classification_table(evaluation),
              HasSubstr("pos         2          3      0.667    1.000    0.800"));
}

TEST(ClassificationEvaluation, IsReadBackFromItsFile) {
  const ScratchFolder folder;
  const auto written =
      evaluation_of({{"classes", 3}, {"labels", {0, 2, 1}}, {"predicted", {0, 1, 1}}});
  write_classification_evaluation(folder.path(), 7, written);
  const auto file = folder / "evaluations" / "step-7.json";
  const ClassificationEvaluation read = read_classification_evaluation(file);
  EXPECT_EQ(read.classes, written.classes);
  EXPECT_EQ(read.texts, written.texts);
  // What overflowed float16 is no number, which JSON has no word for.
  ClassificationEvaluation overflowed = written;
  overflowed.texts[1].nll = std::numeric_limits<double>::quiet_NaN();
  write_classification_evaluation(folder.path(), 7, overflowed);
  EXPECT_TRUE(std::isnan(read_classification_evaluation(file).texts[1].nll));
  write_text(file, R"({"classes": ["a"], "texts": [{"label": 0, "predicted": 1, "nll": 0, )"
                   R"("confidence": 1}]})");
  EXPECT_THROW(read_classification_evaluation(file), FormatError);
  write_text(file, "{}");
  EXPECT_THROW(read_classification_evaluation(file), FormatError);
}

TEST(ClassLabels, HaveTransformersKeys) {
  const ScratchFolder folder;
  EXPECT_FALSE(read_class_labels(folder.path()));
  const ClassNames names = {"z", "ä", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
  write_class_labels(folder.path(), names);
  const auto json = nlohmann::json::parse(testing::read_text(folder / "labels.json"));
  EXPECT_EQ(json["id2label"]["1"], "ä");
  EXPECT_EQ(json["label2id"]["j"], 10);
  EXPECT_EQ(read_class_labels(folder.path()), names);
  write_text(folder / "labels.json", R"({"id2label": {"1": "a"}})");
  EXPECT_THROW(read_class_labels(folder.path()), FormatError);
}

TEST(ClassLabels, WhoNamesTheClasses) {
  const ScratchFolder model;
  const auto checkpoint = [&](const ClassNames& names) {
    nlohmann::json config = {{"model_type", "llama"}};
    for (size_t i = 0; i < names.size(); ++i) config["id2label"][std::to_string(i)] = names[i];
    write_text(model / "config.json", config.dump());
    Checkpoint result{.path = model.path(), .config = {}, .tensors = nullptr};
    result.config.num_labels = std::ssize(names);
    return result;
  };
  // Numbers are no names, nor are a language model's.
  const KnownClasses numbered = known_classes({}, std::nullopt, checkpoint(numbered_classes(3)));
  EXPECT_TRUE(numbered.names.empty());
  EXPECT_EQ(numbered.numbered, 3);
  EXPECT_EQ(known_classes({}, std::nullopt, checkpoint({})).numbered, 0);
  EXPECT_EQ(known_classes({}, std::nullopt, checkpoint({"score"})).numbered, 0);  // a reward model
  const Checkpoint named = checkpoint({"neg", "pos"});
  EXPECT_EQ(known_classes({}, std::nullopt, named).names, (ClassNames{"neg", "pos"}));
  EXPECT_EQ(known_classes({}, std::nullopt, named).origin, "the model " + model.path().string());
  // An adapter's own come first.
  const ScratchFolder folder;
  EXPECT_EQ(known_classes({}, folder.path(), named).names, (ClassNames{"neg", "pos"}));
  write_class_labels(folder.path(), {"c", "a", "b"});
  EXPECT_EQ(known_classes({}, folder.path(), named).names, (ClassNames{"c", "a", "b"}));
  EXPECT_EQ(known_classes({}, folder.path(), named).origin,
            "the adapter " + folder.path().string());
  // data.labels may rename a checkpoint's classes, but not exchange them.
  EXPECT_EQ(known_classes({"spam", "ham"}, std::nullopt, named).names, (ClassNames{"spam", "ham"}));
  EXPECT_EQ(known_classes({"pos", "neg", "none"}, std::nullopt, named).names.size(), 3u);
  EXPECT_THROW(known_classes({"pos", "neg"}, std::nullopt, named), FormatError);
}

}  // namespace
}  // namespace leash

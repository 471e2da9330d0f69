#include "rl/classification/trainer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "models/decoder/score_head.h"
#include "models/device/device.h"
#include "models/errors.h"
#include "rl/classification/class_labels.h"
#include "rl/run/run_log.h"
#include "rollout/inputs.h"

namespace leash {
namespace {

void check_vocabulary(const LabelledData& data, const std::filesystem::path& file,
                      const DecoderConfig& config) {
  for (const LabelledText& text : data.texts) {
    check_ids(text.ids, config, fmt::format("{}:{}", file.string(), text.line));
  }
}

// An adapter whose outputs mean other classes would be trained towards wrong ones.
void check_classes(const std::filesystem::path& folder, const ClassNames& classes) {
  const auto named = read_class_labels(folder);
  if (!named || *named == classes) return;
  throw FormatError(
      fmt::format("{}: its classes are {}; those of this recipe are {} (data.labels sets them)",
                  folder.string(), fmt::join(*named, ", "), fmt::join(classes, ", ")));
}

BatchOrder order_of(const ClassificationSetup& setup, const std::vector<LabelledText>& texts) {
  std::vector<int64_t> lengths;
  for (const LabelledText& text : texts) lengths.push_back(static_cast<int64_t>(text.ids.size()));
  return batch_order(setup.classification, std::move(lengths), setup.data.shuffle, setup.run.seed);
}

}  // namespace

Classifier load_classifier(const ClassificationSetup& setup,
                           const std::shared_ptr<GatherQueue>& gathers) {
  const Checkpoint checkpoint = open_checkpoint(resolve_model(setup.model.path));
  Tokenizer tokenizer = load_chat_tokenizer(checkpoint.path, setup.data.chat);
  const DecoderConfig& config = checkpoint.config;
  LabelledDataSets data =
      read_labelled_data_sets(setup.data, tokenizer, config.max_positions,
                              data_seed_of(setup.classification, setup.run.seed),
                              known_classes(setup.data.labels, setup.lora.path, checkpoint));
  check_vocabulary(data.train, setup.data.train, config);
  check_vocabulary(data.eval, setup.data.eval.value_or(setup.data.train), config);
  if (setup.lora.path) check_classes(*setup.lora.path, data.classes);
  const at::Device device = setup.devices.device();
  const auto decoder = Decoder::load(checkpoint, {.dtype = scalar_type(setup.model.dtype, device),
                                                  .quantize = setup.model.quantize,
                                                  .device = device,
                                                  .gathers = gathers});
  Adapter adapter =
      start_score_adapter(setup.lora, *decoder, checkpoint, static_cast<uint64_t>(setup.run.seed),
                          static_cast<int64_t>(data.classes.size()));
  return {.model = {.checkpoint = checkpoint,
                    .decoder = decoder,
                    .tokenizer = std::move(tokenizer),
                    .adapter = std::move(adapter),
                    .environment = NumericEnvironment::current(
                        checkpoint, setup.model, device, {setup.data.train, setup.data.eval})},
          .data = std::move(data)};
}

void read_classifier(const std::filesystem::path& snapshot, Classifier& classifier) {
  check_classes(snapshot, classifier.data.classes);
  read_adapter_into(snapshot, classifier.model.adapter);
}

ClassificationEvaluation evaluate_texts(const Classifier& classifier,
                                        const ClassificationSetup& setup,
                                        Communicator& communicator) {
  return {.classes = classifier.data.classes,
          .texts = held_out_classes(text_refs(classifier.data.eval.texts),
                                    setup.classification.micro_batch_tokens,
                                    classifier.model.adapted(), communicator)};
}

ClassificationTrainer::ClassificationTrainer(ClassificationSetup setup, const RunContext& context)
    : setup_(std::move(setup)),
      communicator_(context.communicator),
      classifier_(load_classifier(setup_, sharded_base(setup_.run, communicator_))),
      order_(order_of(setup_, data().train.texts)),
      loop_(setup_.classification, setup_.run, classifier_.model, order_, context) {
  if (context.folder.snapshot()) {
    check_classes(context.folder.snapshot()->path, data().classes);
  }
  announce(context.console);
}

// What the run is about to do, for the user.
void ClassificationTrainer::announce(Console& console) {
  loop_.announce_model();
  console.message("training data: " + data().train.summary(data().classes));
  if (!data().eval.texts.empty()) {
    console.message("held-out data: " + data().eval.summary(data().classes));
  }
  loop_.announce_steps("texts");
}

RunOutcome ClassificationTrainer::train(const std::function<bool()>& interrupted) {
  const TrainingTask task{
      .columns = {{"loss", "loss"},
                  {"accuracy", "accuracy"},
                  {"held-out accuracy", "eval/accuracy"}},
      .holds_out = !data().eval.texts.empty(),
      .gradients = [this](const std::vector<int64_t>& rows, int64_t step,
                          double loss_scale) { return gradients(rows, step, loss_scale); },
      .evaluate = [this](RunLog& log, Metrics& metrics) { return evaluate(log, metrics); },
      .compare = [this] { return compare_with_start(); },
      .write_beside =
          [this](const auto& folder) {
            write_class_labels(folder, data().classes);
            write_text_limit(folder, data().limit);
          }};
  return loop_.train(task, interrupted);
}

// Gradients of the mean loss over the batch's texts: the adapter's and its score head's.
BatchResult ClassificationTrainer::gradients(const std::vector<int64_t>& rows, int64_t step,
                                             double loss_scale) {
  std::vector<const LabelledText*> texts;
  for (const int64_t text : rows) texts.push_back(&data().train.texts[text]);
  const ClassificationSums sums =
      accumulate_gradients(texts, step, setup_, model().adapted(), communicator_, loss_scale);
  const double accuracy = static_cast<double>(sums.correct) / static_cast<double>(sums.texts);
  return {.loss = sums.loss, .rows = sums.rows, .metrics = {{"accuracy", accuracy}}};
}

double ClassificationTrainer::evaluate(RunLog& log, Metrics& metrics) {
  const int64_t step = loop_.state().step;
  const ClassificationEvaluation evaluation = evaluate_texts(classifier_, setup_, communicator_);
  if (communicator_.leads()) write_classification_evaluation(loop_.folder(), step, evaluation);
  for (const auto& metric : evaluation.metrics()) metrics.push_back(metric);
  const auto shown =
      std::min(setup_.classification.eval_answers, static_cast<int64_t>(evaluation.texts.size()));
  for (int64_t i = 0; i < shown; ++i) {
    const ClassifiedText& text = evaluation.texts[i];
    log.sample(
        {.step = step,
         .index = i,
         .decoding = "is " + data().classes[text.label],
         .prompt = data().eval.texts[i].text,
         .answer = fmt::format("{} ({:.3f})", data().classes[text.predicted], text.confidence)});
  }
  return evaluation.loss();
}

// Held-out figures before training (where they were taken), at the best step and at the last.
std::string ClassificationTrainer::compare_with_start() const {
  std::string table;
  for (const auto& [step, file] : loop_.compared_evaluations()) {
    const ClassificationEvaluation evaluation = read_classification_evaluation(file);
    table += fmt::format("{:>6}{:>15.4f}{:>26}{:>12.4f}{}\n", step, evaluation.loss(),
                         interval_text(evaluation.accuracy()), evaluation.macro_f1(),
                         step == loop_.state().best_step ? "  best" : "");
  }
  if (table.empty()) return "";
  return fmt::format("{:>6}{:>15}{:>26}{:>12}\n", "step", "held-out loss", "accuracy [95 %]",
                     "macro F1") +
         table;
}

}  // namespace leash

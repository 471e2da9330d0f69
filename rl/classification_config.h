// Everything that the training of a text classifier can be told. Names and defaults are those of
// transformers' TrainingArguments, except where a comment says otherwise.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "models/fields.h"
#include "models/lora.h"
#include "models/model_config.h"
#include "rl/devices_config.h"
#include "rl/run_config.h"
#include "rl/sft_config.h"
#include "rl/training_config.h"

namespace leash {

struct LabelledDataConfig {
  std::filesystem::path train = {};
  std::optional<std::filesystem::path> eval = {};
  double eval_split = 0.0;
  std::vector<std::string> labels = {};
  bool shuffle = true;
  std::optional<int64_t> max_length = 1024;
  TruncationMode truncation_mode = TruncationMode::keep_start;
};
template <class Config, class Visitor>
requires Describes<Config, LabelledDataConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("train", c.train,
        "JSONL: {text, label} or {messages, label}; the label is a name or a number from 0 on");
  visit("eval", c.eval, "held-out JSONL of the same form");
  visit("eval_split", c.eval_split,
        "without data.eval: this part of data.train is held out, chosen by the seed",
        from_below(0, 1));
  visit(
      "labels", c.labels,
      "the classes in their order (empty: those of lora.path or of the checkpoint's id2label, else "
      "what data.train has, names sorted; LABEL_0, … for numbers)");
  visit("shuffle", c.shuffle, "a new order every epoch, from the seed; false keeps the file's");
  visit("max_length", c.max_length,
        "tokens of a text at most, the rest is cut off (null: the model's context)", at_least(1));
  visit("truncation_mode", c.truncation_mode, "which side of a text that is too long stays");
}

struct ClassificationConfig : TrainingConfig {
  double label_smoothing_factor = 0.0;
  int64_t eval_answers = 0;  // leash's own
};
template <class Config, class Visitor>
requires Describes<Config, ClassificationConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit_training_fields(c, visit);
  visit("label_smoothing_factor", c.label_smoothing_factor,
        "this part of the target is spread evenly over the classes", from_below(0, 1));
  visit("eval_answers", c.eval_answers,
        "held-out texts whose predictions go to samples.jsonl at each evaluation, for the report",
        at_least(0));
}

// Everything that a recipe says about the training of a classifier.
struct ClassificationSetup {
  ModelConfig model = {};
  LoraConfig lora = {.task_type = TaskType::SEQ_CLS};
  LabelledDataConfig data = {};
  ClassificationConfig classification = {};
  ModelDevice devices = {};
  RunConfig run = {};
};

}  // namespace leash

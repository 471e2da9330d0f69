// All settings of the training of a text classifier. Names and defaults are those of
// transformers' TrainingArguments, except where a comment says otherwise.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "models/families/model_config.h"
#include "models/fields.h"
#include "models/lora/lora.h"
#include "rl/data/data_config.h"
#include "rl/run/devices_config.h"
#include "rl/run/run_config.h"
#include "rl/training/config.h"

namespace leash {

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

// What a recipe says about the training of a classifier.
struct ClassificationSetup {
  ModelConfig model = {};
  LoraConfig lora = {.task_type = TaskType::SEQ_CLS};
  LabelledDataConfig data = {};
  ClassificationConfig classification = {};
  ModelDevice devices = {};
  RunConfig run = {};
};

}  // namespace leash

// All settings of the training of a reward model. Names and defaults are those of TRL's
// RewardConfig (1.12) and of transformers' TrainingArguments, except where a comment says
// otherwise.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

#include "models/families/model_config.h"
#include "models/fields.h"
#include "models/lora/lora.h"
#include "rl/data/data_config.h"
#include "rl/run/devices_config.h"
#include "rl/run/run_config.h"
#include "rl/training/config.h"

namespace leash {

struct RewardTrainConfig : TrainingConfig {
  RewardTrainConfig() { learning_rate = 1e-4; }

  std::optional<double> center_rewards_coefficient = {};
  double label_smoothing = 0.0;  // TRL's DPOConfig has it, its RewardConfig has not
  bool disable_dropout = true;
  int64_t eval_answers = 0;  // leash's own
};
template <class Config, class Visitor>
requires Describes<Config, RewardTrainConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit_training_fields(c, visit);
  visit("center_rewards_coefficient", c.center_rewards_coefficient,
        "this times the squared sum of a pair's scores is added to its loss, so that scores centre "
        "on 0 (null: not; 0.01 is usual)",
        at_least(0));
  visit("label_smoothing", c.label_smoothing,
        "the probability that a pair is labelled the wrong way round", from_below(0, 0.5));
  visit("disable_dropout", c.disable_dropout, "no dropout while training");
  visit("eval_answers", c.eval_answers,
        "held-out pairs whose scores go to samples.jsonl at each evaluation, for the report",
        at_least(0));
}

// What a recipe says about the training of a reward model.
struct RewardSetup {
  ModelConfig model = {};
  LoraConfig lora = {.task_type = TaskType::SEQ_CLS};
  PreferenceDataConfig data = {};
  RewardTrainConfig reward = {};
  ModelDevice devices = {};
  RunConfig run = {};
};

}  // namespace leash

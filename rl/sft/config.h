// All settings of a supervised run. Names and defaults are those of transformers'
// TrainingArguments and, for the data, of TRL's SFTConfig, except where a comment says otherwise.
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

struct SftConfig : TrainingConfig {
  double label_smoothing_factor = 0.0;
  std::optional<double> neftune_noise_alpha = {};
  int64_t eval_answers = 0;  // leash's own
};
template <class Config, class Visitor>
requires Describes<Config, SftConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit_training_fields(c, visit);
  visit("label_smoothing_factor", c.label_smoothing_factor,
        "this part of the target is spread evenly over the vocabulary", from_below(0, 1));
  visit("neftune_noise_alpha", c.neftune_noise_alpha,
        "noise on the embeddings, uniform within alpha / sqrt(tokens x width) (null: none)",
        above(0));
  visit("eval_answers", c.eval_answers,
        "held-out prompts that are answered at each evaluation (greedily, at most 64 tokens), for "
        "samples.jsonl and the report",
        at_least(0));
}

// What a recipe says about a supervised run.
struct SftSetup {
  ModelConfig model;
  LoraConfig lora;
  SftDataConfig data;
  SftConfig sft;
  ModelDevice devices;
  RunConfig run;
};

}  // namespace leash

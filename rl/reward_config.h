// Everything that the training of a reward model can be told. Names and defaults are those of TRL's
// RewardConfig (1.12) and of transformers' TrainingArguments, except where a comment says
// otherwise.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

#include "models/fields.h"
#include "models/lora.h"
#include "models/model_config.h"
#include "rl/devices_config.h"
#include "rl/run_config.h"
#include "rl/training_config.h"

namespace leash {

enum class PairTruncation { drop, keep_start, keep_end };
template <>
struct EnumNames<PairTruncation> {
  static constexpr std::pair<PairTruncation, std::string_view> values[] = {
      {PairTruncation::drop, "drop"},
      {PairTruncation::keep_start, "keep_start"},
      {PairTruncation::keep_end, "keep_end"}};
};

struct PreferenceDataConfig {
  std::filesystem::path train = {};
  std::optional<std::filesystem::path> eval = {};
  double eval_split = 0.0;
  bool shuffle = true;
  bool append_eos = true;
  bool end_at_eos = true;  // leash's own; TRL: never
  std::optional<int64_t> max_length = 1024;
  PairTruncation truncation_mode = PairTruncation::drop;  // TRL: always drops
};
template <class Config, class Visitor>
requires Describes<Config, PreferenceDataConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("train", c.train,
        "JSONL in TRL's formats: {chosen, rejected} with or without {prompt}, texts or lists of "
        "messages, with an optional number {margin}");
  visit("eval", c.eval, "held-out JSONL of the same form");
  visit("eval_split", c.eval_split,
        "without data.eval: this part of data.train's prompts is held out with all their pairs, "
        "chosen by the seed",
        from_below(0, 1));
  visit("shuffle", c.shuffle, "a new order every epoch, from the seed; false keeps the file's");
  visit("append_eos", c.append_eos,
        "a text ends with the tokenizer's EOS (chat ends as its template says)");
  visit("end_at_eos", c.end_at_eos,
        "what a chat template puts behind the last EOS (a line break) is left out, so that the "
        "score is read at the token that ends PPO's answers");
  visit("max_length", c.max_length, "tokens of a sequence at most (null: the model's context)",
        at_least(2));
  visit("truncation_mode", c.truncation_mode,
        "what becomes of a pair with a sequence that is too long: it is left out, or cut");
}

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

// Everything that a recipe says about the training of a reward model.
struct RewardSetup {
  ModelConfig model = {};
  LoraConfig lora = {.task_type = TaskType::SEQ_CLS};
  PreferenceDataConfig data = {};
  RewardTrainConfig reward = {};
  ModelDevice devices = {};
  RunConfig run = {};
};

}  // namespace leash

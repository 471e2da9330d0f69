// All settings of direct preference optimisation. Names and defaults are those of TRL's DPOConfig
// (1.16) and of transformers' TrainingArguments, except where a comment or docs/algorithms/dpo.md
// says otherwise.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "models/families/model_config.h"
#include "models/fields.h"
#include "models/lora/lora.h"
#include "models/one_or_more.h"
#include "rl/data/data_config.h"
#include "rl/dpo/loss.h"
#include "rl/reference/config.h"
#include "rl/run/devices_config.h"
#include "rl/run/run_config.h"
#include "rl/training/config.h"

namespace leash {

template <>
struct EnumNames<DpoLoss> {
  static constexpr std::pair<DpoLoss, std::string_view> values[] = {
      {DpoLoss::sigmoid, "sigmoid"},
      {DpoLoss::hinge, "hinge"},
      {DpoLoss::ipo, "ipo"},
      {DpoLoss::robust, "robust"},
      {DpoLoss::apo_zero, "apo_zero"},
      {DpoLoss::apo_down, "apo_down"},
      {DpoLoss::sppo_hard, "sppo_hard"},
      {DpoLoss::sft, "sft"}};
  static constexpr std::string_view kNotBuilt = "TRL has this loss, which is not built here";
  static constexpr std::pair<std::string_view, std::string_view> refused[] = {
      {"exo_pair", kNotBuilt}, {"nca_pair", kNotBuilt},     {"bco_pair", kNotBuilt},
      {"aot", kNotBuilt},      {"aot_unpaired", kNotBuilt}, {"aot_pair", kNotBuilt},
      {"discopop", kNotBuilt}, {"sigmoid_norm", kNotBuilt}};
};

struct DpoConfig : TrainingConfig {
  DpoConfig() { learning_rate = 5e-5; }  // TRL's is for all weights; measured with LoRA

  OneOrMore<DpoLoss> loss_type = {{DpoLoss::sigmoid}};
  std::optional<std::vector<double>> loss_weights = {};
  double beta = 0.1;
  double label_smoothing = 0.0;
  std::optional<double> ld_alpha = {};
  bool disable_dropout = true;
  bool precompute_ref_log_probs = false;
  int64_t eval_answers = 0;  // leash's own
};
template <class Config, class Visitor>
requires Describes<Config, DpoConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit_training_fields(c, visit);
  visit("loss_type", c.loss_type,
        "of log-ratios between policy and reference (docs/algorithms/dpo.md has the formulas); "
        "several are added up with loss_weights");
  visit("loss_weights", c.loss_weights, "one for each loss_type (null: 1 each)", at_least(0));
  visit("beta", c.beta,
        "how strongly the policy is held to the reference (ipo: its regularisation; sppo_hard: the "
        "inverse of its step)",
        above(0));
  visit("label_smoothing", c.label_smoothing,
        "robust: the probability that a pair is labelled the wrong way round", from_below(0, 0.5));
  visit("ld_alpha", c.ld_alpha,
        "what log-probs of tokens beyond the shorter answer's length count (LD-DPO; null: 1)",
        within(0, 1));
  visit("disable_dropout", c.disable_dropout, "no dropout while training");
  visit("precompute_ref_log_probs", c.precompute_ref_log_probs,
        "log-probs of the training data under the reference are computed once, before the first "
        "step, and kept in the run's folder");
  visit("eval_answers", c.eval_answers,
        "held-out prompts that are answered at each evaluation (greedily, at most 64 tokens), with "
        "the exact KL of each answer, for samples.jsonl and the report",
        at_least(0));
}

// What a recipe says about a DPO run.
struct DpoSetup {
  DpoSetup() {
    data.truncation_mode = PairTruncation::keep_start;  // TRL's, for DPO
    data.end_at_eos = false;
  }

  ModelConfig model = {};
  LoraConfig lora = {};
  ReferenceConfig reference = {};
  PreferenceDataConfig data = {};
  DpoConfig dpo = {};
  ModelDevice devices = {};
  RunConfig run = {};
};

}  // namespace leash

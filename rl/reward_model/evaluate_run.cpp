// `leash evaluate` of a reward model.
#include "models/errors.h"
#include "models/lora/peft_adapter.h"
#include "rl/reward_model/evaluation.h"
#include "rl/reward_model/trainer.h"
#include "rl/run/snapshot_parts.h"
#include "rl/statistics/interval_json.h"

namespace leash {
namespace {

nlohmann::ordered_json pairs_json(const RewardEvaluation& evaluation,
                                  const RewardLossOptions& options) {
  nlohmann::ordered_json bins = nlohmann::ordered_json::array();
  for (const CalibrationBin& bin : evaluation.calibration()) {
    nlohmann::ordered_json entry = interval_json(bin.observed);
    entry["expected"] = bin.expected;
    entry["pairs"] = bin.observed.n;
    bins.push_back(std::move(entry));
  }
  return {{"pairs", evaluation.pairs.size()},
          {"loss", evaluation.loss(options)},
          {"accuracy", interval_json(evaluation.accuracy())},
          {"margin", interval_json(evaluation.margin())},
          {"length_correlation", interval_json(evaluation.length_correlation())},
          {"longer_chosen", interval_json(evaluation.longer_chosen())},
          {"calibration_error", evaluation.calibration_error()},
          {"calibration", std::move(bins)}};
}

}  // namespace

TaskEvaluation evaluate_run(const RewardSetup& recipe, const std::optional<Snapshot>& snapshot) {
  RewardSetup setup = recipe;
  TrainedModel model = load_reward_model(setup);
  std::string warnings;
  if (snapshot) {
    read_adapter_into(snapshot->path, model.adapter);
    const AdapterEnding trained = read_ending(snapshot->path, model.tokenizer);
    if (trained.said) {  // else by an older leash, as the recipe had it
      setup.data.append_eos = trained.ending.append_eos;
      setup.data.end_at_eos = trained.ending.end_at_eos;
      for (const std::string& warning : trained.warnings) warnings += "warning: " + warning + "\n";
    }
  }
  const PreferenceDataSets data = read_preferences_for(setup, model);
  if (data.eval.pairs.empty()) throw ConfigError(kNothingHeldOut);
  const RewardEvaluation evaluation =
      evaluate_pairs(data.eval, setup, model, *single_communicator());
  const RewardLossOptions options = loss_options(setup.reward);
  return {.text = warnings + "held-out data: " + data.eval.counts.text() + "\n" +
                  reward_evaluation_table(evaluation, options),
          .lines = {pairs_json(evaluation, options)}};
}

}  // namespace leash

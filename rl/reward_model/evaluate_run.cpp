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

TaskEvaluation evaluate_run(const RewardSetup& setup, const std::optional<Snapshot>& snapshot) {
  TrainedModel model = load_reward_model(setup);
  if (snapshot) read_adapter_into(snapshot->path, model.adapter);
  const PreferenceDataSets data = read_preferences_for(setup, model);
  if (data.eval.pairs.empty()) throw ConfigError(kNothingHeldOut);
  const RewardEvaluation evaluation =
      evaluate_pairs(data.eval, setup, model, *single_communicator());
  const RewardLossOptions options = loss_options(setup.reward);
  return {.text = "held-out data: " + data.eval.counts.text() + "\n" +
                  reward_evaluation_table(evaluation, options),
          .lines = {pairs_json(evaluation, options)}};
}

}  // namespace leash

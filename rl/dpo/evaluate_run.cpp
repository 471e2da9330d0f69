// `leash evaluate` of a DPO run.
#include "models/errors.h"
#include "rl/dpo/evaluation.h"
#include "rl/dpo/trainer.h"
#include "rl/run/snapshot_parts.h"
#include "rl/statistics/interval_json.h"

namespace leash {

TaskEvaluation evaluate_run(const DpoSetup& setup, const std::optional<Snapshot>& snapshot) {
  PolicyBesideReference policy = load_policy(policy_source(setup));
  if (snapshot) read_adapter_into(snapshot->path, policy.model.adapter);
  const PreferenceDataSets data =
      read_preferences_for(setup, policy.model.checkpoint, policy.model.tokenizer);
  if (data.eval.pairs.empty()) throw ConfigError(kNothingHeldOut);
  const DpoEvaluation evaluation = evaluate_pairs(data.eval, setup, policy, *single_communicator());
  const DpoLossOptions options = loss_options(setup.dpo);
  return {.text = "held-out data: " + data.eval.counts.text() + "\n" +
                  dpo_evaluation_table(evaluation, options),
          .lines = {{{"pairs", evaluation.pairs.size()},
                     {"loss", evaluation.loss(options)},
                     {"rewards/accuracies", interval_json(evaluation.accuracy())},
                     {"rewards/margins", interval_json(evaluation.margin(options.beta))},
                     {"exact_kl", interval_json(evaluation.kl())},
                     {"exact_kl_per_token", evaluation.kl_per_token()}}}};
}

}  // namespace leash

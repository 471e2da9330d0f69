#include "rl/policy/evaluate_run.h"

#include "models/errors.h"
#include "rl/policy/evaluation.h"
#include "rl/policy/snapshot.h"
#include "rl/statistics/interval_json.h"

namespace leash {
namespace {

nlohmann::ordered_json evaluation_json(const Evaluation& evaluation,
                                       const std::vector<PromptRecord>& prompts) {
  nlohmann::ordered_json answers = nlohmann::ordered_json::array();
  for (const EvaluatedAnswer& answer : evaluation.answers) {
    answers.push_back({{"prompt", prompts[static_cast<size_t>(answer.prompt)].display},
                       {"text", answer.text},
                       {"reward", answer.reward},
                       {"kl", answer.kl},
                       {"tokens", answer.num_tokens},
                       {"stop", answer.stop}});
  }
  return {{"decoding", evaluation.decoding},
          {"reward", interval_json(evaluation.reward())},
          {"kl", interval_json(evaluation.kl())},
          {"reference_perplexity", evaluation.perplexity()},
          {"distinct_bigrams", evaluation.distinct_bigrams()},
          {"mean_tokens", evaluation.mean_tokens()},
          {"answers", std::move(answers)}};
}

}  // namespace

TaskEvaluation evaluate_policy(const PolicySetup& setup, const PolicyConfig& config,
                               const std::function<PolicyRoles()>& load,
                               const std::optional<Snapshot>& snapshot) {
  if (!setup.data.eval) throw ConfigError("data.eval: is missing: there is nothing to evaluate on");
  PolicyRoles roles = load();
  if (snapshot) read_policy(snapshot->path, roles);
  const auto prompts = read_policy_prompts(*setup.data.eval, setup, roles);
  Lanes lanes(setup.lanes, std::nullopt, 0, setup.devices.streams());
  const auto alone = single_communicator();
  const auto evaluations =
      evaluate(setup, config, roles, prompts, lanes, *alone, snapshot ? snapshot->step : 0);
  TaskEvaluation result{.text = evaluation_table(evaluations, prompts, /*num_samples=*/3),
                        .lines = {}};
  for (const Evaluation& evaluation : evaluations) {
    result.lines.push_back(evaluation_json(evaluation, prompts));
  }
  return result;
}

}  // namespace leash

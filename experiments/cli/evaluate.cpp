// leash evaluate: how good a run's policy is on its held-out prompts.
#include <fmt/format.h>

#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <variant>

#include "configs/experiment.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/options.h"
#include "experiments/cli/output.h"
#include "experiments/cli/recipe.h"
#include "models/device/device.h"
#include "models/errors.h"
#include "models/io/json_file.h"
#include "models/io/snapshot.h"
#include "rl/classification/trainer.h"
#include "rl/distributed/communicator.h"
#include "rl/policy/evaluation.h"
#include "rl/policy/snapshot.h"
#include "rl/ppo/critic.h"
#include "rl/reward_model/trainer.h"
#include "rl/run/snapshot_parts.h"
#include "rl/sft/trainer.h"

namespace leash::cli {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

constexpr CommandHelp kHelp{
    "evaluate", "[RECIPE] --run-dir DIR [--set a.b=c]… [--snapshot N] [--json]",
    "What a run's policy is worth on its held-out data. Without a recipe, as the run was "
    "configured "
    "at the end\n(resolved.yaml in its folder); with one, what it has differently is said.\n"
    "ppo: held-out reward with 95 % intervals, exact KL from the reference, perplexity under the "
    "reference\n"
    "and sample answers of a run's policy, greedy and sampled. sft: held-out loss, perplexity and "
    "token\n"
    "accuracy. reward: accuracy on held-out pairs, mean margin, calibration and the correlation of "
    "score\n"
    "with length. classification: loss, accuracy, macro F1, and precision, recall and F1 of each "
    "class.\n"
    "--snapshot 0 is the model before training.",
    "  leash evaluate --run-dir runs/a\n"
    "  leash evaluate --run-dir runs/a --set data.eval=other.jsonl --snapshot 10 --json"};

constexpr const char* kNothingHeldOut =
    "data.eval: is missing (as is data.eval_split): there is nothing to evaluate on";

po::options_description options() {
  po::options_description options("Options");
  add_recipe_options(options);
  auto add = options.add_options();
  add("run-dir", po::value<std::string>()->value_name("DIR"), "the run's folder");
  add("snapshot", po::value<int64_t>()->value_name("N"),
      "of step N (default: the one that the run's adapter/ holds or would hold by now; 0: before "
      "training)");
  add("json", po::bool_switch(), "print a JSON line per way of decoding");
  return options;
}

// Whether a run exports its best snapshot, and not its last, as adapter/.
bool exports_best(const PpoSetup& /*setup*/) { return true; }
bool exports_best(const SftSetup& setup) { return setup.sft.load_best_model_at_end; }
bool exports_best(const RewardSetup& setup) { return setup.reward.load_best_model_at_end; }
bool exports_best(const ClassificationSetup& setup) {
  return setup.classification.load_best_model_at_end;
}

std::optional<int64_t> best_step(const Snapshot& snapshot) {
  const fs::path file = snapshot.path / "state.json";
  try {
    const nlohmann::json best = read_json_file(file).at("best_step");
    return best.is_null() ? std::nullopt : std::optional(best.get<int64_t>());
  } catch (const nlohmann::json::exception& error) {
    throw FormatError(file.string() + ": " + error.what());
  }
}

Snapshot newest_snapshot(const fs::path& run_dir) {
  const SnapshotSearch search = find_newest_snapshot(run_dir);
  for (const std::string& message : search.messages) std::cerr << message << "\n";
  if (search.newest) return *search.newest;
  throw FormatError(fmt::format("{}: has no whole snapshot", run_dir.string()));
}

// The snapshot to load; nothing for step 0.
std::optional<Snapshot> chosen_snapshot(const fs::path& run_dir, std::optional<int64_t> step,
                                        bool exports_best) {
  if (step == 0) return std::nullopt;
  if (!step) {
    const Snapshot newest = newest_snapshot(run_dir);
    step = exports_best ? best_step(newest).value_or(newest.step) : newest.step;
    if (*step == newest.step) return newest;
    std::cerr << fmt::format("step {} is the best so far, step {} the newest\n", *step,
                             newest.step);
  }
  std::string known;
  for (const Snapshot& snapshot : list_snapshots(run_dir)) {
    if (snapshot.step != *step) {
      known += fmt::format("{}{}", known.empty() ? "" : ", ", snapshot.step);
      continue;
    }
    if (const auto damage = snapshot_damage(snapshot.path)) {
      throw FormatError(snapshot.path.string() + ": " + *damage);
    }
    return snapshot;
  }
  throw FormatError(fmt::format("{}: there is no snapshot of step {} (there are: {})",
                                run_dir.string(), *step, known.empty() ? "none" : known));
}

nlohmann::ordered_json interval_json(const MeanInterval& value) {
  nlohmann::ordered_json json = {{"mean", value.mean}, {"ci95", nullptr}};
  if (value.ci95) json["ci95"] = {value.ci95->low, value.ci95->high};
  return json;
}

nlohmann::ordered_json evaluation_json(const Evaluation& evaluation,
                                       const std::vector<PromptRecord>& prompts, int64_t step) {
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
          {"step", step},
          {"reward", interval_json(evaluation.reward())},
          {"kl", interval_json(evaluation.kl())},
          {"reference_perplexity", evaluation.perplexity()},
          {"distinct_bigrams", evaluation.distinct_bigrams()},
          {"mean_tokens", evaluation.mean_tokens()},
          {"answers", std::move(answers)}};
}

// What a task's run is worth on its held-out data, printed.
void evaluate_task(const PpoSetup& setup, const std::optional<Snapshot>& snapshot,
                   const std::string& run_dir, bool json) {
  if (!setup.data.eval) throw ConfigError("data.eval: is missing: there is nothing to evaluate on");
  PolicyRoles roles = load_ppo_roles(setup);
  if (snapshot) read_policy(snapshot->path, roles);
  const auto prompts = read_prompts(*setup.data.eval, roles.tokenizer, prompt_limits(setup, roles));
  Lanes lanes(setup.lanes, std::nullopt, 0, setup.devices.streams());
  const auto alone = single_communicator();
  const auto evaluations = leash::evaluate(setup, setup.ppo, roles, prompts, lanes, *alone);
  const int64_t step = snapshot ? snapshot->step : 0;
  if (json) {
    for (const Evaluation& evaluation : evaluations) {
      print_json_line(evaluation_json(evaluation, prompts, step));
    }
  } else {
    std::cout << fmt::format("step {} of {}\n", step, run_dir)
              << evaluation_table(evaluations, prompts, /*num_samples=*/3);
  }
}

void evaluate_task(const SftSetup& setup, const std::optional<Snapshot>& snapshot,
                   const std::string& run_dir, bool json) {
  SftModel model = load_sft_model(setup);
  if (snapshot) read_adapter_into(snapshot->path, model.adapter);
  const SftDataSets data = read_data_for(setup, model);
  if (data.eval.samples.empty()) {
    throw ConfigError(kNothingHeldOut);
  }
  const auto alone = single_communicator();
  const SftSums sums = held_out_sums(sample_refs(data.eval.samples), setup.sft.micro_batch_tokens,
                                     *model.decoder, &model.adapter, *alone);
  const int64_t step = snapshot ? snapshot->step : 0;
  const double loss = sums.nll / static_cast<double>(sums.tokens);
  const double accuracy = static_cast<double>(sums.correct) / static_cast<double>(sums.tokens);
  if (json) {
    print_json_line({{"step", step},
                     {"loss", loss},
                     {"perplexity", std::exp(loss)},
                     {"mean_token_accuracy", accuracy},
                     {"tokens", sums.tokens},
                     {"samples", data.eval.samples.size()}});
  } else {
    std::cout << fmt::format(
        "step {} of {}\nheld-out data: {}\nloss {:.4f} nats per token, perplexity {:.3f}, token "
        "accuracy {:.4f}\n",
        step, run_dir, data.eval.counts.text(), loss, std::exp(loss), accuracy);
  }
}

nlohmann::ordered_json pairs_json(const RewardEvaluation& evaluation,
                                  const RewardLossOptions& options, int64_t step) {
  nlohmann::ordered_json bins = nlohmann::ordered_json::array();
  for (const CalibrationBin& bin : evaluation.calibration()) {
    nlohmann::ordered_json entry = interval_json(bin.observed);
    entry["expected"] = bin.expected;
    entry["pairs"] = bin.observed.n;
    bins.push_back(std::move(entry));
  }
  return {{"step", step},
          {"pairs", evaluation.pairs.size()},
          {"loss", evaluation.loss(options)},
          {"accuracy", interval_json(evaluation.accuracy())},
          {"margin", interval_json(evaluation.margin())},
          {"length_correlation", interval_json(evaluation.length_correlation())},
          {"longer_chosen", interval_json(evaluation.longer_chosen())},
          {"calibration_error", evaluation.calibration_error()},
          {"calibration", std::move(bins)}};
}

void evaluate_task(const RewardSetup& setup, const std::optional<Snapshot>& snapshot,
                   const std::string& run_dir, bool json) {
  TrainedModel model = load_reward_model(setup);
  if (snapshot) read_adapter_into(snapshot->path, model.adapter);
  const PreferenceDataSets data = read_preferences_for(setup, model);
  if (data.eval.pairs.empty()) {
    throw ConfigError(kNothingHeldOut);
  }
  const RewardEvaluation evaluation =
      evaluate_pairs(data.eval, setup, model, *single_communicator());
  const RewardLossOptions options = loss_options(setup.reward);
  const int64_t step = snapshot ? snapshot->step : 0;
  if (json) {
    print_json_line(pairs_json(evaluation, options, step));
  } else {
    std::cout << fmt::format("step {} of {}\nheld-out data: {}\n", step, run_dir,
                             data.eval.counts.text())
              << reward_evaluation_table(evaluation, options);
  }
}

nlohmann::ordered_json classes_json(const ClassificationEvaluation& evaluation, int64_t step) {
  nlohmann::ordered_json classes = nlohmann::ordered_json::array();
  const std::vector<ClassScores> scores = evaluation.scores();
  for (size_t i = 0; i < scores.size(); ++i) {
    classes.push_back({{"label", evaluation.classes[i]},
                       {"texts", scores[i].texts},
                       {"predicted", scores[i].predicted},
                       {"precision", scores[i].precision},
                       {"recall", scores[i].recall},
                       {"f1", scores[i].f1}});
  }
  return {{"step", step},
          {"texts", evaluation.texts.size()},
          {"loss", evaluation.loss()},
          {"accuracy", interval_json(evaluation.accuracy())},
          {"macro_f1", evaluation.macro_f1()},
          {"classes", std::move(classes)},
          {"confusion", evaluation.confusion()}};
}

void evaluate_task(const ClassificationSetup& setup, const std::optional<Snapshot>& snapshot,
                   const std::string& run_dir, bool json) {
  Classifier classifier = load_classifier(setup);
  if (snapshot) read_classifier(snapshot->path, classifier);
  if (classifier.data.eval.texts.empty()) throw ConfigError(kNothingHeldOut);
  const ClassificationEvaluation evaluation =
      evaluate_texts(classifier, setup, *single_communicator());
  const int64_t step = snapshot ? snapshot->step : 0;
  if (json) {
    print_json_line(classes_json(evaluation, step));
  } else {
    std::cout << fmt::format("step {} of {}\nheld-out data: {}\n", step, run_dir,
                             classifier.data.eval.summary(classifier.data.classes))
              << classification_table(evaluation);
  }
}

// A recipe that is not the run's judges something else than what was trained.
void say_differences(const fs::path& run_dir, const Experiment& experiment) {
  for (const std::string& change : changed_since(run_dir, experiment)) {
    if (change.starts_with("task: ")) {
      throw ConfigError(
          fmt::format("{} is the folder of another task ({})", run_dir.string(), change));
    }
    if (!change.starts_with("run.")) std::cerr << "not as in the run: " << change << "\n";
  }
}

}  // namespace

int evaluate(const Arguments& args) {
  const auto values = parse_options(kHelp, options(), {"recipe"}, args);
  if (!values) return 0;
  const auto run_dir = given<std::string>(*values, "run-dir");
  if (!run_dir) throw ConfigError("--run-dir is missing");
  if (!fs::is_directory(*run_dir)) {
    throw FormatError(fmt::format("{}: there is no such run", *run_dir));
  }
  const Experiment experiment =
      load_recipe(*values, /*says_warnings=*/true, fs::path(*run_dir) / "resolved.yaml");
  set_threads(experiment.run().threads);
  say_differences(*run_dir, experiment);
  std::visit(
      [&](const auto& setup) {
        const auto snapshot =
            chosen_snapshot(*run_dir, given<int64_t>(*values, "snapshot"), exports_best(setup));
        evaluate_task(setup, snapshot, *run_dir, (*values)["json"].as<bool>());
      },
      experiment.setup);
  return 0;
}

}  // namespace leash::cli

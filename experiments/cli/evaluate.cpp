// leash evaluate: how good a run's policy is on its held-out prompts.
#include <fmt/format.h>

#include <cmath>
#include <concepts>
#include <iostream>
#include <nlohmann/json.hpp>
#include <variant>

#include "configs/experiment.h"
#include "configs/tasks.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/load_model.h"
#include "experiments/cli/options.h"
#include "experiments/cli/output.h"
#include "experiments/cli/recipe.h"
#include "models/device/device.h"
#include "models/errors.h"
#include "models/io/json_file.h"
#include "models/io/snapshot.h"
#include "models/printable.h"

namespace leash::cli {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

constexpr CommandHelp kEvaluateHelp{
    "evaluate", "[RECIPE] --run-dir DIR [--set a.b=c]… [--snapshot N] [--json]",
    "What a run's policy is worth on its held-out data. Without a recipe, as the run was "
    "configured "
    "at the end\n(resolved.yaml in its folder); with one, differences from the run are reported.\n"
    "ppo: held-out reward with 95 % intervals, exact KL from the reference, perplexity under the "
    "reference\n"
    "and sample answers of a run's policy, greedy and sampled. sft: held-out loss, perplexity and "
    "token\n"
    "accuracy. reward: accuracy on held-out pairs, mean margin, calibration and the correlation of "
    "score\n"
    "with length. classification: loss, accuracy, macro F1, and precision, recall and F1 of each "
    "class.\n"
    "--snapshot 0 is the model before training. Reward programs of a run's own recipe start, "
    "and its\nendpoints are asked, with --run-commands alone.",
    "  leash evaluate --run-dir runs/a\n"
    "  leash evaluate --run-dir runs/a --set data.eval=other.jsonl --snapshot 10 --json"};

po::options_description evaluate_options() {
  po::options_description options("Options");
  add_recipe_options(options);
  auto add = options.add_options();
  add("run-dir", po::value<std::string>()->value_name("DIR"), "the run's folder");
  add("snapshot", po::value<int64_t>()->value_name("N"),
      "of step N (default: the one that the run's adapter/ holds or would hold by now; 0: before "
      "training)");
  add("run-commands", po::bool_switch(),
      "without a recipe: let the run's own one start its reward programs and ask its endpoints");
  add("json", po::bool_switch(), "print a JSON line per way of decoding");
  add_other_base_option(options);
  return options;
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

void print_evaluation(const TaskEvaluation& evaluation, int64_t step, const std::string& run_dir,
                      bool json) {
  if (!json) {
    std::cout << fmt::format("step {} of {}\n", step, run_dir) << printable_lines(evaluation.text);
    return;
  }
  for (nlohmann::ordered_json line : evaluation.lines) {
    line["step"] = step;
    print_json_line(line);
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

// What a recipe's rewards start with a shell, and where they send answers, whichever task has
// sources of reward.
template <class Setup>
std::string reward_commands(const Setup& setup) {
  std::string commands;
  if constexpr (std::derived_from<Setup, PolicySetup>) {
    for (const RewardConfig& reward : setup.reward) {
      if (reward.command) commands += "\n" + *reward.command;
      if (!reward.url) continue;
      commands += "\nanswers are sent to " + *reward.url;
      if (reward.header_env) commands += " with what is in $" + *reward.header_env;
    }
  }
  return commands;
}

// A run's folder may come from somebody else: what it would start is not what the user named.
void refuse_commands(const Experiment& experiment) {
  const std::string commands =
      std::visit([](const auto& setup) { return reward_commands(setup); }, experiment.setup);
  if (commands.empty()) return;
  throw ConfigError(
      "the run's resolved.yaml starts reward programs, or sends answers to an endpoint; name a "
      "recipe, or give --run-commands to allow these:" +
      commands);
}

}  // namespace

int evaluate(const Arguments& args) {
  const auto values = parse_options(kEvaluateHelp, evaluate_options(), {"recipe"}, args);
  if (!values) return 0;
  const auto run_dir = given<std::string>(*values, "run-dir");
  if (!run_dir) throw ConfigError("--run-dir is missing");
  if (!fs::is_directory(*run_dir)) {
    throw FormatError(fmt::format("{}: there is no such run", *run_dir));
  }
  const Experiment experiment =
      load_recipe(*values, /*says_warnings=*/true, fs::path(*run_dir) / "resolved.yaml");
  if (values->count("recipe") == 0 && !(*values)["run-commands"].as<bool>()) {
    refuse_commands(experiment);
  }
  set_threads(experiment.run().threads);
  say_differences(*run_dir, experiment);
  std::visit(
      [&]<class Setup>(const Setup& setup) {
        using Traits = TaskTraits<Setup>;
        const auto snapshot = chosen_snapshot(*run_dir, given<int64_t>(*values, "snapshot"),
                                              Traits::exports_best(setup));
        print_evaluation(Traits::evaluate(setup, snapshot), snapshot ? snapshot->step : 0, *run_dir,
                         (*values)["json"].template as<bool>());
      },
      experiment.setup);
  return 0;
}

}  // namespace leash::cli

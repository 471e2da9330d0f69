// leash reward-test: what a recipe's sources of reward say of given answers.
#include <fmt/format.h>

#include <concepts>
#include <iostream>
#include <variant>

#include "configs/experiment.h"
#include "configs/tasks.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/options.h"
#include "experiments/cli/output.h"
#include "experiments/cli/recipe.h"
#include "models/device/device.h"
#include "models/errors.h"
#include "models/printable.h"
#include "rl/policy/reward_trial.h"

namespace leash::cli {
namespace {

namespace po = boost::program_options;

constexpr CommandHelp kRewardTestHelp{
    "reward-test", "RECIPE [--input F.jsonl] [--set a.b=c]… [--json]",
    "Scores answers with the recipe's sources of reward, a column for each, before a run trains on "
    "them:\n"
    "how the scores are distributed, where sources disagree, what each of them took. The input has "
    "the\n"
    "recipe's prompts, one object a line, with the answers under `completion` (a text, a list of "
    "them,\n"
    "or messages), or under `answer` where no source of the recipe compares with that column. "
    "Without\n"
    "answers, or without an input, the policy as it would start answers some prompts first. With "
    "--json\n"
    "a line per answer, {\"index\", \"prompt\", \"answer\", \"ended\", \"tokens\", \"scores\", "
    "\"total\"}, and a\n"
    "last one {\"summary\"}. Reward programs start, and endpoints are asked, as in a run.",
    "  leash reward-test my.yaml --input answers.jsonl\n"
    "  leash reward-test my.yaml --prompts 8 --json"};

po::options_description reward_test_options() {
  po::options_description options("Options");
  add_recipe_options(options);
  auto add = options.add_options();
  add("input", po::value<std::string>()->value_name("FILE"),
      "prompts with answers as JSONL (default: the prompts of data.train, which are answered)");
  add("answer-key", po::value<std::string>()->value_name("KEY"), "where the answers stand");
  add("prompts", po::value<int64_t>()->value_name("N")->default_value(16),
      "how many prompts are answered where there are no answers");
  add("show", po::value<int64_t>()->value_name("N")->default_value(20),
      "how many answers are shown");
  add("json", po::bool_switch(), "print JSON lines");
  return options;
}

ScoreTable table_of(const Experiment& experiment, const RewardTrialOptions& options) {
  return std::visit(
      [&]<class Setup>(const Setup& setup) -> ScoreTable {
        using Traits = TaskTraits<Setup>;
        if constexpr (std::derived_from<Setup, PolicySetup>) {
          return try_rewards(setup, setup.*Traits::section, options);
        } else {
          throw ConfigError(fmt::format("task: {} has no sources of reward to test", Traits::name));
        }
      },
      experiment.setup);
}

}  // namespace

int reward_test(const Arguments& args) {
  const auto values = parse_options(kRewardTestHelp, reward_test_options(), {"recipe"}, args);
  if (!values) return 0;
  RewardTrialOptions options{.answer_key = given<std::string>(*values, "answer-key"),
                             .num_prompts = (*values)["prompts"].as<int64_t>()};
  if (const auto input = given<std::string>(*values, "input")) options.input = *input;
  const int64_t shown = (*values)["show"].as<int64_t>();
  OptionProblems problems;
  problems.require(options.num_prompts > 0, "--prompts has to be above 0");
  problems.require(shown >= 0, "--show has to be at least 0");
  problems.require(!options.answer_key || options.input,
                   "--answer-key has no effect without --input");
  problems.check();

  const Experiment experiment = load_recipe(*values);
  set_threads(experiment.run().threads);
  const ScoreTable table = table_of(experiment, options);
  if (!(*values)["json"].as<bool>()) {
    std::cout << printable_lines(score_table_text(table, static_cast<size_t>(shown)));
    return 0;
  }
  for (const auto& line : score_table_lines(table)) print_json_line(line);
  return 0;
}

}  // namespace leash::cli

#include "experiments/cli/label_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "experiments/cli/load_model.h"
#include "experiments/cli/recipe.h"
#include "experiments/label/judgement.h"
#include "models/limits.h"

namespace leash::cli {
namespace {

namespace po = boost::program_options;

constexpr int64_t kMostAnswers = 16;
constexpr int64_t kMostPeople = 64;

std::vector<std::string> texts(const po::variables_map& values, const char* name) {
  return given<std::vector<std::string>>(values, name).value_or(Arguments{});
}

// NAME=DIR, or `base` for no adapter.
label::AnswerSource adapter_of(const std::string& text, OptionProblems& problems) {
  if (text == "base") return {"base", std::nullopt, 1.0};
  const size_t at = text.find('=');
  const std::string name = text.substr(0, at);
  const bool fine = at != text.npos && at + 1 < text.size() && label::name_problem(name).empty() &&
                    name != "base";
  problems.require(fine, fmt::format("--adapter {}: has to be NAME=DIR, or base", text));
  return fine ? label::AnswerSource{name, text.substr(at + 1), 1.0} : label::AnswerSource{};
}

void read_sources(const po::variables_map& values, LabelOptions& options,
                  OptionProblems& problems) {
  std::set<std::string> names;
  for (const std::string& text : texts(values, "adapter")) {
    options.adapters.push_back(adapter_of(text, problems));
    problems.require(names.insert(options.adapters.back().name).second,
                     fmt::format("--adapter {}: the name is given twice", text));
  }
  options.temperatures =
      given<std::vector<double>>(values, "temperature").value_or(std::vector<double>{});
  for (const double temperature : options.temperatures) {
    problems.require(temperature >= 0 && std::isfinite(temperature),
                     fmt::format("--temperature has to be 0 or more, not {}", temperature));
  }
  options.prompts = given<std::string>(values, "prompts");
  options.answers = given<int64_t>(values, "answers");
  problems.require(!options.answers || (*options.answers >= 2 && *options.answers <= kMostAnswers),
                   fmt::format("--answers has to be 2 to {}", kMostAnswers));
  options.max_new_tokens = given<int64_t>(values, "max-new-tokens");
  problems.require(!options.max_new_tokens ||
                       (*options.max_new_tokens >= 1 && *options.max_new_tokens <= kMostOfAnything),
                   fmt::format("--max-new-tokens has to be 1 to {}", kMostOfAnything));
  options.ahead = given<int64_t>(values, "ahead");
  problems.require(!options.ahead || (*options.ahead >= 1 && *options.ahead <= kMostOfAnything),
                   "--ahead has to be at least 1");
}

void read_people(const po::variables_map& values, LabelOptions& options, OptionProblems& problems) {
  options.terminal = values["terminal"].as<bool>();
  const std::string judge = given<std::string>(values, "judge").value_or("people");
  problems.require(judge == "people" || judge == "rule", "--judge has to be people or rule");
  options.rule = judge == "rule";
  options.judge_noise = values["judge-noise"].as<double>();
  problems.require(options.judge_noise >= 0 && options.judge_noise <= 1,
                   "--judge-noise has to be 0 to 1");
  problems.require(options.rule || values["judge-noise"].defaulted(),
                   "--judge-noise has no effect without --judge rule");
  problems.require(!(options.rule && options.terminal), "--judge rule needs no --terminal");
  options.users = texts(values, "user");
  if (options.users.empty()) {
    const char* own = std::getenv("USER");
    const bool named = own != nullptr && label::name_problem(own).empty();
    options.users.push_back(options.rule ? "rule" : named ? own : "me");
  }
  std::set<std::string> names;
  for (const std::string& user : options.users) {
    const std::string problem = label::name_problem(user);
    problems.require(problem.empty(), "--user: the name " + problem);
    problems.require(names.insert(user).second, fmt::format("--user {} is given twice", user));
  }
  problems.require(std::ssize(options.users) <= kMostPeople,
                   fmt::format("at most {} people", kMostPeople));
  problems.require(options.users.size() == 1 || (!options.terminal && !options.rule),
                   "--terminal and --judge rule are for one --user");
  options.shared = values["shared"].as<double>();
  problems.require(options.shared >= 0 && options.shared <= 1, "--shared has to be 0 to 1");
  options.host = values["host"].as<std::string>();
  const auto port = values["port"].as<int64_t>();
  problems.require(port >= 0 && port <= 65535, "--port has to be 0 (any free one) to 65535");
  options.port = static_cast<int>(std::clamp<int64_t>(port, 0, 65535));
  problems.require(!options.host.empty(), "--host must not be empty");
}

void read_order(const po::variables_map& values, LabelOptions& options, OptionProblems& problems) {
  const std::string next = values["next"].as<std::string>();
  problems.require(next == "order" || next == "uncertain", "--next has to be order or uncertain");
  options.uncertain = next == "uncertain";
  options.reward_recipe = given<std::string>(values, "reward");
  options.retrain = values["retrain"].as<int64_t>();
  problems.require(options.retrain >= 1, "--retrain has to be at least 1");
  problems.require(options.uncertain == options.reward_recipe.has_value(),
                   "--next uncertain and --reward RECIPE go together: the one is decided by what "
                   "the other trains");
  problems.require(options.uncertain || values["retrain"].defaulted(),
                   "--retrain has no effect without --next uncertain");
}

// Options that sampling alone reads.
void check_given_pairs(const po::variables_map& values, OptionProblems& problems) {
  for (const char* name :
       {"prompts", "adapter", "temperature", "answers", "max-new-tokens", "ahead"}) {
    problems.require(values.count(name) == 0,
                     fmt::format("--{} has no effect with --pairs, whose answers are given", name));
  }
}

void check_merge(const po::variables_map& values, OptionProblems& problems) {
  for (const char* name : {"recipe", "pairs", "prompts", "adapter", "temperature", "answers",
                           "max-new-tokens", "count", "user", "judge", "reward", "set"}) {
    problems.require(values.count(name) == 0, fmt::format("--merge takes no {}", name));
  }
}

// The folder where nothing else is said.
std::string default_folder(const po::variables_map& values) {
  const std::string& name = values.count("recipe") != 0 ? values["recipe"].as<std::string>()
                                                        : values["pairs"].as<std::string>();
  return "runs/" + std::filesystem::path(name).stem().string() + "-labels";
}

}  // namespace

const CommandHelp kLabelHelp{
    "label", "RECIPE [--adapter NAME=DIR]… | --pairs F.jsonl | --merge A B…",
    "People judge pairs of answers: on a page in the browser, whose address it prints, or on this\n"
    "terminal. The answers are sampled from the recipe's model while people read, or given by "
    "--pairs\n"
    "(then no recipe is needed). The folder (--out) holds preferences.jsonl, which task: reward, "
    "dpo and\nkto read; started again with the same folder, it goes on where it was. "
    "docs/feedback.md says more.",
    "  leash label configs/recipes/demo.yaml --count 50\n"
    "  leash label configs/recipes/demo.yaml --adapter base --adapter ppo=runs/a/adapter --user "
    "anna --user ben\n"
    "  leash label --pairs pairs.jsonl --terminal\n"
    "  leash label --merge runs/anna-labels runs/ben-labels --out preferences.jsonl"};

po::options_description label_options() {
  po::options_description options("Options");
  add_recipe_options(options);
  auto add = options.add_options();
  add("out", po::value<std::string>()->value_name("DIR"),
      "the folder of pairs and judgements (runs/<recipe>-labels); of --merge the file");
  add("user", po::value<std::vector<std::string>>()->value_name("NAME")->composing(),
      "who judges (repeatable: each gets an address; $USER)");
  add("shared", po::value<double>()->value_name("PART")->default_value(1.0, "1"),
      "part of the pairs that everybody judges; each of the others goes to one person");
  add("count", po::value<int64_t>()->value_name("N"), "at most N pairs");
  add("seed", po::value<int64_t>()->value_name("S"),
      "of answers, their order and the pairs' (run.seed)");
  add("prompts", po::value<std::string>()->value_name("FILE"),
      "prompts as JSONL (the recipe's data.train)");
  add("pairs", po::value<std::string>()->value_name("FILE"),
      "judge given answers: JSONL with prompt and answers, or prompt, chosen and rejected");
  add("adapter", po::value<std::vector<std::string>>()->value_name("NAME=DIR")->composing(),
      "whose answers (repeatable; base: none; default: the recipe's lora.path, or none)");
  add("temperature", po::value<std::vector<double>>()->value_name("T")->composing(),
      "of the answers (repeatable: each adapter at each; rollout.temperature)");
  add("answers", po::value<int64_t>()->value_name("N"),
      "answers to a prompt, every two of which make a pair (2, or one of each source)");
  add("max-new-tokens", po::value<int64_t>()->value_name("N"),
      "end an answer after N tokens (rollout.response_length)");
  add("ahead", po::value<int64_t>()->value_name("N"),
      "pairs that are sampled ahead of the person who is furthest (4; 64 with --next uncertain)");
  add("next", po::value<std::string>()->value_name("HOW")->default_value("order"),
      "which pair comes next: order, or uncertain (where a reward model is least sure)");
  add("reward", po::value<std::string>()->value_name("RECIPE"),
      "how that reward model is trained (task: reward)");
  add("retrain", po::value<int64_t>()->value_name("N")->default_value(20),
      "train it again every N judgements");
  add("host", po::value<std::string>()->value_name("H")->default_value("127.0.0.1"),
      "address to listen on; any other than a loopback one lets others reach the page");
  add("port", po::value<int64_t>()->value_name("N")->default_value(0), "0: any that is free");
  add("terminal", po::bool_switch(), "judge on this terminal instead of a page");
  add("judge", po::value<std::string>()->value_name("WHO"),
      "people, or rule: the recipe's reward functions judge");
  add("judge-noise", po::value<double>()->value_name("PART")->default_value(0.0, "0"),
      "part of the rule's preferences that come out the wrong way round");
  add("merge", po::value<std::vector<std::string>>()->value_name("FILE…")->multitoken(),
      "join files or folders of several people; without --out on standard output");
  add("json", po::bool_switch(), "of --merge: print who said what, and agreement, as JSON");
  add_other_base_option(options);
  return options;
}

LabelOptions read_label_options(const po::variables_map& values) {
  LabelOptions options;
  OptionProblems problems;
  options.merge = texts(values, "merge");
  options.out = given<std::string>(values, "out");
  options.json = values["json"].as<bool>();
  const auto seed = given<int64_t>(values, "seed");
  problems.require(!seed || (*seed >= 0 && *seed <= kMostSeed),
                   fmt::format("--seed has to be 0 to {}", kMostSeed));
  if (seed) options.seed = static_cast<uint64_t>(*seed);
  if (!options.merge.empty()) {
    check_merge(values, problems);
    problems.check();
    return options;
  }
  problems.require(!options.json, "--json has no effect without --merge");
  options.pairs = given<std::string>(values, "pairs");
  if (options.pairs) check_given_pairs(values, problems);
  problems.require(options.pairs || values.count("recipe") != 0,
                   "a recipe is missing, or --pairs, or --merge");
  read_sources(values, options, problems);
  read_people(values, options, problems);
  read_order(values, options, problems);
  const auto count = given<int64_t>(values, "count");
  problems.require(!count || *count >= 1, "--count has to be at least 1");
  options.count = count.value_or(INT64_MAX);
  problems.check();
  if (!options.out) options.out = default_folder(values);
  return options;
}

}  // namespace leash::cli

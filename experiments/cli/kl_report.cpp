// leash kl-report: how far policies drifted from their reference.
#include "rl/report/kl_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "configs/scalars.h"
#include "configs/suggest.h"
#include "configs/sweep.h"
#include "experiments/cli/app.h"
#include "experiments/cli/chat_options.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/input.h"
#include "experiments/cli/load_model.h"
#include "experiments/cli/options.h"
#include "models/errors.h"
#include "models/io/atomic_file.h"
#include "models/io/snapshot.h"
#include "models/limits.h"
#include "models/printable.h"
#include "models/text/regex_split.h"
#include "rl/run/console.h"

namespace leash::cli {
namespace {

namespace po = boost::program_options;
using Names = std::vector<std::string>;

constexpr CommandHelp kKlReportHelp{
    "kl-report",
    "--model MODEL --policy DIR [--policy DIR]… [--reference DIR] --input F.jsonl --out DIR",
    "Exact KL(policy || reference) per position and per text, with estimates k1 and k3 and 95 %\n"
    "intervals. Writes report.json and report.html (one offline page) into --out. The input has "
    "one\n"
    "object a line: {\"text\"} or {\"token_ids\"} are scored as they are, of {\"prompt\", "
    "\"completion\"}\n"
    "the completion; to {\"prompt\"} or {\"messages\"} each policy samples answers first. KL is "
    "in nats at\ntemperature 1. Further: KL the other way, Jensen-Shannon, entropies, agreement, "
    "tokens that moved,\nhow answers read, and which modules changed.",
    "  leash kl-report --model smollm2 --policy runs/a/adapter --input held_out.jsonl --out "
    "/tmp/kl\n"
    "  leash kl-report --model smollm2 --policy runs/a/adapter --policy runs/b/adapter --chat \\\n"
    "    --input prompts.jsonl --samples 4 --seed 1 --out /tmp/kl --json"};

po::options_description kl_report_options() {
  po::options_description options("Options");
  add_model_options(options);
  add_chat_options(options);
  auto add = options.add_options();
  add("policy", po::value<Names>()->value_name("DIR")->composing(),
      "adapter of a policy (repeatable)");
  add("reference", po::value<std::string>()->value_name("DIR"),
      "adapter of the reference (default: the model itself)");
  add("input", po::value<std::string>()->value_name("FILE"), "texts or prompts as JSONL");
  add("out", po::value<std::string>()->value_name("DIR"), "folder of report.json and report.html");
  add("chat", po::bool_switch(), "a prompt is one user message of the chat template");
  add("continue-final-message", po::bool_switch(),
      "go on with the last message of conversations that end with the assistant");
  add("max-new-tokens", po::value<int64_t>()->value_name("N")->default_value(64),
      "length of sampled answers");
  add("temperature", po::value<double>()->value_name("T")->default_value(1.0),
      "of sampling; the KL is at temperature 1 in any case");
  add("seed", po::value<int64_t>()->value_name("S")->default_value(0), "key of all draws");
  add("samples", po::value<int64_t>()->value_name("N")->default_value(1), "answers per prompt");
  add("run", po::value<std::string>()->value_name("DIR"),
      "every snapshot of a run as a policy, by step of training");
  add("group", po::value<std::string>()->value_name("KEY"),
      "figures for each value of this key of the input's lines, too");
  add("pattern", po::value<Names>()->value_name("REGEX")->composing(),
      "share of answers in which this is found (repeatable)");
  add("ablate", po::bool_switch(), "KL with each layer's adapter off: a pass for each layer");
  add("fail-above", po::value<std::string>()->value_name("NAME=X,…"),
      "exit code 1 where a policy is above: kl, kl_token, reverse_kl, js, disagreement, "
      "length_ratio, repetition");
  add("csv", po::bool_switch(), "summary.csv, positions.csv and prompts.csv into --out as well");
  add("json", po::bool_switch(), "print a JSON line per policy instead of tables");
  add_other_base_option(options);
  return options;
}

struct Bound {
  std::string name;
  double most = 0;
};

// "kl=6,length_ratio=1.3".
std::vector<Bound> bounds_of(const po::variables_map& values, OptionProblems& problems) {
  std::vector<Bound> bounds;
  const auto text = given<std::string>(values, "fail-above");
  for (const std::string& part : text ? split_values(*text) : Names{}) {
    const size_t equals = part.find('=');
    const auto most =
        equals == std::string::npos ? std::nullopt : parse_number(part.substr(equals + 1));
    problems.require(most.has_value(),
                     fmt::format("--fail-above: `{}` has to be NAME=NUMBER", part));
    if (most) bounds.push_back({part.substr(0, equals), *most});
  }
  return bounds;
}

// The value of `key` on each line, as text; "" on lines without it.
std::vector<std::string> groups_of(const std::string& input, const std::string& key) {
  std::vector<std::string> groups;
  bool any = false;
  std::ifstream stream(input, std::ios::binary);
  for (std::string line; std::getline(stream, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    const bool has = json.is_object() && json.contains(key);
    any = any || has;
    groups.push_back(!has                    ? ""
                     : json[key].is_string() ? json[key].get<std::string>()
                                             : json[key].dump());
  }
  if (!any) throw FormatError(fmt::format("{}: no line has the key `{}` of --group", input, key));
  return groups;
}

void check(const po::variables_map& values) {
  OptionProblems problems;
  for (const char* name : {"policy", "input", "out"}) {
    const bool by_run = std::string_view(name) == "policy" && values.count("run") != 0;
    problems.require(values.count(name) != 0 || by_run, fmt::format("--{} is missing", name));
  }
  problems.require(values.count("group") == 0 || values.count("input") == 0 ||
                       values["input"].as<std::string>() != "-",
                   "--group reads the input twice: name a file");
  for (const std::string& pattern : given<Names>(values, "pattern").value_or(Names{})) {
    try {
      (void)Regex(pattern);
    } catch (const FormatError& error) {
      problems.add(fmt::format("--pattern: {}", error.what()));
    }
  }
  for (const Bound& bound : bounds_of(values, problems)) {
    const auto names = drift_figure_names();
    problems.require(std::ranges::find(names, bound.name) != names.end(),
                     fmt::format("--fail-above: there is no figure `{}`{}", bound.name,
                                 did_you_mean(bound.name, names)));
  }
  const int64_t new_tokens = values["max-new-tokens"].as<int64_t>();
  problems.require(
      new_tokens >= 1 && new_tokens <= kMostOfAnything,
      fmt::format("--max-new-tokens must be at least 1 and at most {}", kMostOfAnything));
  const double temperature = values["temperature"].as<double>();
  problems.require(temperature >= 0 && std::isfinite(temperature),
                   "--temperature must be 0 (greedy) or more");
  problems.require(values["seed"].as<int64_t>() >= 0, "--seed must be 0 or more");
  const int64_t samples = values["samples"].as<int64_t>();
  problems.require(samples >= 1 && samples <= 10000, "--samples must be 1 to 10000");
  problems.check();
}

KlReportRequest make_request(const po::variables_map& values, const LoadedModel& model) {
  KlReportRequest request{model.decoder, model.tokenizer, values["model"].as<std::string>()};
  for (const std::string& policy : given<Names>(values, "policy").value_or(Names{})) {
    request.policies.push_back(policy);
    request.steps.emplace_back();
    request.policy_adapters.push_back(load_frozen_adapter(policy, model));
  }
  if (const auto run = given<std::string>(values, "run")) {
    const auto snapshots = list_snapshots(*run);
    if (snapshots.empty()) throw FormatError(fmt::format("{}: has no snapshot", *run));
    for (const Snapshot& snapshot : snapshots) {
      request.policies.push_back(fmt::format("step {}", snapshot.step));
      request.steps.emplace_back(snapshot.step);
      request.policy_adapters.push_back(load_frozen_adapter(snapshot.path, model));
    }
  }
  request.patterns = given<Names>(values, "pattern").value_or(Names{});
  request.ablate = values["ablate"].as<bool>();
  std::vector<std::string> groups;
  if (const auto key = given<std::string>(values, "group")) {
    groups = groups_of(values["input"].as<std::string>(), *key);
  }
  if (const auto reference = given<std::string>(values, "reference")) {
    request.reference = *reference;
    request.reference_adapter = load_frozen_adapter(*reference, model);
  }
  const InputRules rules{.kinds = {InputKind::prompt, InputKind::messages, InputKind::text,
                                   InputKind::token_ids, InputKind::completion},
                         .chat = values["chat"].as<bool>(),
                         .continue_final_message = values["continue-final-message"].as<bool>(),
                         .vocab_size = model.config().vocab_size,
                         .max_positions = model.config().max_positions};
  for (Input& input : read_inputs(values["input"].as<std::string>(), rules, model.tokenizer)) {
    request.inputs.push_back(
        {.line = input.index + 1,
         .sampled = is_prompt(input.kind),
         .ids = std::move(input.ids),
         .answer_begin = input.answer_begin,
         .group = groups.empty() ? "" : groups.at(static_cast<size_t>(input.index))});
  }
  request.generation.sampling.temperature = values["temperature"].as<double>();
  request.generation.max_new_tokens = values["max-new-tokens"].as<int64_t>();
  request.generation.seed = static_cast<uint64_t>(values["seed"].as<int64_t>());
  request.generation.eos_token_ids = model.eos_token_ids();
  request.samples = values["samples"].as<int64_t>();
  return request;
}

// Names what is above its bound on standard error; whether anything is.
bool says_above(const KlReport& report, const std::vector<Bound>& bounds) {
  bool above = false;
  for (const KlPolicyReport& policy : report.policies) {
    for (const Bound& bound : bounds) {
      const auto value = drift_figure(report, policy, bound.name);
      if (!value) {
        throw ConfigError(fmt::format(
            "--fail-above: {} compares answers with the reference's: give prompts", bound.name));
      }
      if (*value <= bound.most) continue;  // what is no number is above
      above = true;
      std::cerr << fmt::format("{}: {} is {:.4g}, above {:g}\n", printable_lines(policy.policy),
                               bound.name, *value, bound.most);
    }
  }
  return above;
}

}  // namespace

int kl_report(const Arguments& args) {
  const auto values = parse_options(kKlReportHelp, kl_report_options(), {}, args);
  if (!values) return 0;
  check(*values);
  const std::filesystem::path folder = (*values)["out"].as<std::string>();
  std::filesystem::create_directories(folder);  // better known now than after the work
  const LoadedModel model = load_model(*values);
  KlReportRequest request = make_request(*values, model);
  Console console;
  request.progress = [&console](const std::string& what) { console.progress(what, false); };
  const KlReport report = make_kl_report(request);
  console.finish();
  write_kl_report(report, folder);
  if ((*values)["csv"].as<bool>()) {
    write_text_file(folder / "summary.csv", kl_summary_csv(report));
    write_text_file(folder / "positions.csv", kl_positions_csv(report));
    write_text_file(folder / "prompts.csv", kl_prompts_csv(report));
  }
  if ((*values)["json"].as<bool>()) {
    for (const KlPolicyReport& policy : report.policies) {
      std::cout << kl_policy_json(policy) << "\n";
    }
  } else {
    std::cout << kl_report_table(report);
  }
  std::cerr << fmt::format("written: {}\n", (folder / "report.html").string());
  OptionProblems none;
  return says_above(report, bounds_of(*values, none)) ? kRunFailed : kDone;
}

}  // namespace leash::cli

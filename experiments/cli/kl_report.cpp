// leash kl-report: how far policies drifted from their reference.
#include "rl/report/kl_report.h"

#include <fmt/format.h>

#include <cmath>
#include <iostream>
#include <utility>

#include "experiments/cli/chat_options.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/input.h"
#include "experiments/cli/load_model.h"
#include "experiments/cli/options.h"
#include "models/limits.h"

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
    "in nats at\ntemperature 1.",
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
  add("json", po::bool_switch(), "print a JSON line per policy instead of tables");
  add_other_base_option(options);
  return options;
}

void check(const po::variables_map& values) {
  OptionProblems problems;
  for (const char* name : {"policy", "input", "out"}) {
    problems.require(values.count(name) != 0, fmt::format("--{} is missing", name));
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
  request.policies = values["policy"].as<Names>();
  for (const std::string& policy : request.policies) {
    request.policy_adapters.push_back(load_frozen_adapter(policy, model));
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
    request.inputs.push_back({.line = input.index + 1,
                              .sampled = is_prompt(input.kind),
                              .ids = std::move(input.ids),
                              .answer_begin = input.answer_begin});
  }
  request.generation.sampling.temperature = values["temperature"].as<double>();
  request.generation.max_new_tokens = values["max-new-tokens"].as<int64_t>();
  request.generation.seed = static_cast<uint64_t>(values["seed"].as<int64_t>());
  request.generation.eos_token_ids = model.eos_token_ids();
  request.samples = values["samples"].as<int64_t>();
  return request;
}

}  // namespace

int kl_report(const Arguments& args) {
  const auto values = parse_options(kKlReportHelp, kl_report_options(), {}, args);
  if (!values) return 0;
  check(*values);
  const std::filesystem::path folder = (*values)["out"].as<std::string>();
  std::filesystem::create_directories(folder);  // better known now than after the work
  const LoadedModel model = load_model(*values);
  const KlReport report = make_kl_report(make_request(*values, model));
  write_kl_report(report, folder);
  if ((*values)["json"].as<bool>()) {
    for (const KlPolicyReport& policy : report.policies) {
      std::cout << kl_policy_json(policy) << "\n";
    }
  } else {
    std::cout << kl_report_table(report);
  }
  std::cerr << fmt::format("written: {}\n", (folder / "report.html").string());
  return 0;
}

}  // namespace leash::cli

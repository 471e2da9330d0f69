// leash_bench [--model M] [--quantize HOW | --fast] [--baseline M] [--repeats N]
// [--micro-batch-tokens N] [--threads N] [--device D] [--dtype T] [--no-graphs] [--profile]
// [--program NAME]
// [--no-header] CASE…: CSV on standard output. One process per case where peak memory matters.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <optional>

#include "experiments/bench/harness.h"
#include "models/device/device.h"
#include "models/device/host_memory.h"
#include "models/device/op_profile.h"
#include "models/errors.h"

namespace leash::bench {
namespace {

using Case = std::function<std::vector<Row>(const Options&)>;

const std::map<std::string, Case>& cases() {
  static const std::map<std::string, Case> all{
      {"decode-1", [](const Options& o) { return run_decode(o, 1, false); }},
      {"decode-16", [](const Options& o) { return run_decode(o, 16, false); }},
      {"decode-32", [](const Options& o) { return run_decode(o, 32, false); }},
      {"decode-64", [](const Options& o) { return run_decode(o, 64, false); }},
      {"decode-64-lora", [](const Options& o) { return run_decode(o, 64, true); }},
      {"decode-256", [](const Options& o) { return run_decode(o, 256, false); }},
      {"decode-16-lora", [](const Options& o) { return run_decode(o, 16, true); }},
      {"score", run_score},
      {"ppo-shared", [](const Options& o) { return run_ppo(o, "shared"); }},
      {"ppo-shared-adapter-reward",
       [](const Options& o) { return run_ppo(o, "shared-adapter-reward"); }},
      {"ppo-shared-ragged", [](const Options& o) { return run_ppo(o, "shared-ragged"); }},
      {"ppo-separate-all", [](const Options& o) { return run_ppo(o, "separate-all"); }},
      {"ppo-separate-lora", [](const Options& o) { return run_ppo(o, "separate-lora"); }},
      {"ppo-separate-head", [](const Options& o) { return run_ppo(o, "separate-head"); }},
      {"update", run_update},
      {"groups", run_groups},
      {"supervised", [](const Options& o) { return run_supervised(o, "8x256", false); }},
      {"supervised-checkpointed",
       [](const Options& o) { return run_supervised(o, "8x256", true); }},
      {"supervised-ragged", [](const Options& o) { return run_supervised(o, "ragged", false); }},
      {"growth-batch", [](const Options& o) { return run_growth(o, "batch"); }},
      {"growth-answer", [](const Options& o) { return run_growth(o, "answer"); }},
      {"growth-length", [](const Options& o) { return run_growth(o, "length"); }},
      {"growth-training", [](const Options& o) { return run_growth(o, "training"); }},
      {"growth-vocabulary", [](const Options& o) { return run_growth(o, "vocabulary"); }},
      {"quality", run_quality},
      {"sharing", run_sharing},
      {"machine", run_machine},
  };
  return all;
}

Quantize quantize_named(const std::string& name) {
  for (const auto& [value, text] : EnumNames<Quantize>::values) {
    if (text == name) return value;
  }
  throw ConfigError("--quantize: none, keep, nf4 or int8, not " + name);
}

DtypeChoice dtype_named(const std::string& name) {
  for (const auto& [value, text] : EnumNames<DtypeChoice>::values) {
    if (text == name) return value;
  }
  throw ConfigError("--dtype: auto, float32, bfloat16, float16 or float64, not " + name);
}

// The dearest first, on standard error. On a GPU the time is that of launching.
void show(const OpCosts& costs) {
  std::vector<std::pair<double, std::string>> by_time;
  OpCost all;
  for (const auto& [name, cost] : costs) {
    by_time.emplace_back(cost.seconds, name);
    all.calls += cost.calls;
    all.seconds += cost.seconds;
  }
  std::ranges::sort(by_time, std::greater());
  std::cerr << fmt::format("{:9.1f} ms {:8} calls in all\n", all.seconds * 1e3, all.calls);
  for (size_t i = 0; i < std::min<size_t>(by_time.size(), 40); ++i) {
    const auto& [seconds, name] = by_time[i];
    std::cerr << fmt::format("{:9.1f} ms {:8} {}\n", seconds * 1e3, costs.at(name).calls, name);
  }
}

int usage() {
  std::cerr << "leash_bench [--model M] [--quantize HOW | --fast] [--baseline M] "
               "[--repeats N] [--micro-batch-tokens N] [--threads N] [--device D] [--dtype T] "
               "[--no-graphs] [--profile] [--program NAME] "
               "[--no-header] CASE…\ncases:";
  for (const auto& [name, run] : cases()) std::cerr << ' ' << name;
  std::cerr << '\n';
  return 2;
}

int run(const std::vector<std::string>& arguments) {
  Options options;
  bool header = true, profile = false;
  std::vector<std::string> names;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    const bool has_value = i + 1 < arguments.size();
    if (argument == "--no-header")
      header = false;
    else if (argument == "--fast")
      options.fast = true;
    else if (argument == "--profile")
      profile = true;
    else if (argument == "--no-graphs")
      options.record_steps = false;
    else if (argument == "--model" && has_value)
      options.model = arguments[++i];
    else if (argument == "--baseline" && has_value)
      options.baseline = arguments[++i];
    else if (argument == "--quantize" && has_value)
      options.quantize = quantize_named(arguments[++i]);
    else if (argument == "--repeats" && has_value)
      options.repeats = std::stoll(arguments[++i]);
    else if (argument == "--micro-batch-tokens" && has_value)
      options.micro_batch_tokens = std::stoll(arguments[++i]);
    else if (argument == "--threads" && has_value)
      options.threads = std::stoll(arguments[++i]);
    else if (argument == "--device" && has_value)
      options.device = arguments[++i];
    else if (argument == "--dtype" && has_value)
      options.dtype = dtype_named(arguments[++i]);
    else if (argument == "--program" && has_value)
      options.program = arguments[++i];
    else if (cases().contains(argument))
      names.push_back(argument);
    else
      return usage();
  }
  if (names.empty() || options.repeats < 1) return usage();
  // As a recipe's default.
  if (options.device != "cpu" && options.micro_batch_tokens == 0) options.micro_batch_tokens = 4096;
  set_threads(options.threads);
  if (header) std::cout << csv_header() << std::endl;
  for (const std::string& name : names) {
    std::optional<OpProfile> operators;
    if (profile) operators.emplace();
    for (const Row& row : cases().at(name)(options)) {
      std::cout << csv_line(row, options) << std::endl;
    }
    if (operators) show(operators->take());
  }
  return 0;
}

}  // namespace
}  // namespace leash::bench

int main(int argc, char** argv) {
  leash::keep_host_memory();
  try {
    return leash::bench::run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::cerr << "leash_bench: " << error.what() << '\n';
    return 1;
  }
}

#include "experiments/cli/sampling_options.h"

#include <fmt/format.h>

#include <cmath>
#include <iostream>
#include <string>
#include <vector>

#include "experiments/cli/sampling_defaults.h"
#include "models/limits.h"

namespace leash::cli {
namespace {

namespace po = boost::program_options;

template <class T>
void read(const po::variables_map& values, const char* name, T& into) {
  if (const auto value = given<T>(values, name)) into = *value;
}

void check_sampling(const SamplingConfig& c, OptionProblems& problems) {
  // Written so that NaN fails.
  problems.require(c.temperature >= 0 && std::isfinite(c.temperature),
                   fmt::format("--temperature must be 0 (greedy) or more, not {}", c.temperature));
  problems.require(c.top_k >= 0 && c.top_k <= kMostOfAnything,
                   fmt::format("--top-k must be 0 (off) to {}, not {}", kMostOfAnything, c.top_k));
  problems.require(c.top_p > 0 && c.top_p <= 1,
                   fmt::format("--top-p must be above 0 and at most 1 (off), not {}", c.top_p));
  problems.require(c.min_p >= 0 && c.min_p <= 1,
                   fmt::format("--min-p must be 0 (off) to 1, not {}", c.min_p));
  problems.require(
      c.repetition_penalty > 0 && std::isfinite(c.repetition_penalty),
      fmt::format("--repetition-penalty must be above 0 (1: off), not {}", c.repetition_penalty));
}

// --greedy next to a setting that only sampling reads would silently do nothing.
void check_greedy(const po::variables_map& values, OptionProblems& problems) {
  for (const char* name : {"temperature", "top-k", "top-p", "min-p"}) {
    problems.require(values.count(name) == 0,
                     fmt::format("--{} has no effect with --greedy", name));
  }
}

}  // namespace

void add_sampling_options(po::options_description& options, int64_t max_new_tokens) {
  auto add = options.add_options();
  add("greedy", po::bool_switch(), "take the most probable token each time");
  add("temperature", po::value<double>()->value_name("T"), "sample from softmax(logits / T)");
  add("top-k", po::value<int64_t>()->value_name("K"), "only the K most probable tokens (0: off)");
  add("top-p", po::value<double>()->value_name("P"),
      "only the most probable tokens that hold P of the mass (1: off)");
  add("min-p", po::value<double>()->value_name("M"),
      "only tokens with at least M times the largest probability (0: off)");
  add("repetition-penalty", po::value<double>()->value_name("R"),
      "makes tokens that occurred less probable (1: off)");
  add("seed", po::value<int64_t>()->value_name("S"), "key of all draws (0)");
  add("max-new-tokens", po::value<int64_t>()->value_name("N")->default_value(max_new_tokens),
      "end an answer after N tokens");
  add("min-new-tokens", po::value<int64_t>()->value_name("N")->default_value(0),
      "no end before N tokens");
  add("stop", po::value<std::vector<std::string>>()->value_name("TEXT")->composing(),
      "end an answer at this text (repeatable)");
}

GenerationConfig read_sampling_options(const po::variables_map& values, OptionProblems& problems) {
  GenerationConfig config;
  SamplingConfig& sampling = config.sampling;
  read(values, "temperature", sampling.temperature);
  read(values, "top-k", sampling.top_k);
  read(values, "top-p", sampling.top_p);
  read(values, "min-p", sampling.min_p);
  read(values, "repetition-penalty", sampling.repetition_penalty);
  check_sampling(sampling, problems);
  if (values["greedy"].as<bool>()) {
    check_greedy(values, problems);
    sampling.temperature = 0;
  }
  int64_t seed = 0;
  read(values, "seed", seed);
  problems.require(seed >= 0, fmt::format("--seed must be 0 or more, not {}", seed));
  config.seed = static_cast<uint64_t>(seed);
  read(values, "max-new-tokens", config.max_new_tokens);
  read(values, "min-new-tokens", config.min_new_tokens);
  problems.require(
      config.max_new_tokens >= 1 && config.max_new_tokens <= kMostOfAnything,
      fmt::format("--max-new-tokens must be at least 1 and at most {}", kMostOfAnything));
  problems.require(
      config.min_new_tokens >= 0 && config.min_new_tokens <= config.max_new_tokens,
      fmt::format("--min-new-tokens must be 0 to --max-new-tokens ({})", config.max_new_tokens));
  read(values, "stop", config.stop_texts);
  for (const std::string& text : config.stop_texts) {
    problems.require(!text.empty(), "--stop must not be empty");
  }
  return config;
}

void settle_sampling(const po::variables_map& values, const Checkpoint& checkpoint,
                     const SamplingConfig& otherwise, SamplingConfig& config) {
  const bool greedy = values["greedy"].as<bool>();
  if (!greedy) {
    const SamplingConfig defaults = sampling_defaults(checkpoint, otherwise);
    const SamplingConfig asked = config;
    config = defaults;
    if (values.count("temperature") != 0) config.temperature = asked.temperature;
    if (values.count("top-k") != 0) config.top_k = asked.top_k;
    if (values.count("top-p") != 0) config.top_p = asked.top_p;
    if (values.count("min-p") != 0) config.min_p = asked.min_p;
    if (values.count("repetition-penalty") != 0) {
      config.repetition_penalty = asked.repetition_penalty;
    }
  }
  std::cerr << "sampling: " << sampling_text(config) << std::endl;
}

}  // namespace leash::cli

// Builds the reward of a run from its configuration.
#include "rl/reward/source.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <utility>

#include "models/errors.h"
#include "models/io/checkpoint.h"
#include "rl/reward/adapter.h"
#include "rl/reward/command.h"
#include "rl/reward/functions.h"
#include "rl/reward/model.h"

namespace leash {
namespace {

using Problems = std::vector<std::string>;

class FunctionReward final : public RewardSource {
 public:
  explicit FunctionReward(const RewardConfig& config) : function_(config) {}
  std::vector<double> score(const std::vector<RewardSample>& samples) const override {
    std::vector<double> scores;
    scores.reserve(samples.size());
    for (const RewardSample& sample : samples) scores.push_back(function_(sample.answer));
    return scores;
  }

 private:
  RewardFunction function_;
};

// In float32 its square is finite, and so is the sum of a batch of them.
constexpr double kLargestScore = 1e12;

// What the losses cannot work with is an error here, where it is known whose it is.
void check_scores(const std::string& source, double weight, const std::vector<double>& scores) {
  for (size_t i = 0; i < scores.size(); ++i) {
    if (std::abs(weight * scores[i]) <= kLargestScore) continue;  // false for NaN
    throw std::runtime_error(fmt::format(
        "{} gave answer {} of {} the score {:g}{}; a score has to be a finite number of at most "
        "{:g}",
        source, i + 1, scores.size(), scores[i],
        weight == 1 ? "" : fmt::format(" (times its weight, {:g})", weight), kLargestScore));
  }
}

class WeightedReward final : public RewardSource {
 public:
  explicit WeightedReward(std::vector<std::string> labels) : labels_(std::move(labels)) {}
  void add(std::string name, double weight, std::unique_ptr<const RewardSource> source) {
    parts_.push_back({std::move(name), weight, std::move(source)});
  }
  std::vector<double> score(const std::vector<RewardSample>& samples) const override {
    return score_parts(samples).total;
  }
  RewardScores score_parts(const std::vector<RewardSample>& samples) const override {
    RewardScores all{.total = std::vector<double>(samples.size(), 0.0), .parts = {}};
    for (const auto& [name, weight, source] : parts_) {
      const std::vector<double> scores = source->score(samples);
      TORCH_CHECK(scores.size() == samples.size(), "a reward source has to score every sample");
      check_scores(name, weight, scores);
      for (size_t i = 0; i < samples.size(); ++i) all.total[i] += weight * scores[i];
      all.parts.push_back(scores);
    }
    return all;
  }
  std::vector<std::string> labels() const override { return labels_; }
  std::optional<int64_t> context() const override {
    std::optional<int64_t> least;
    for (const auto& [name, weight, source] : parts_) {
      const auto limit = source->context();
      if (limit) least = std::min(*limit, least.value_or(*limit));
    }
    return least;
  }

  void check_prompt(const PromptRecord& prompt) const override {
    for (const Part& part : parts_) part.source->check_prompt(prompt);
  }
  std::vector<std::string> warnings() const override {
    std::vector<std::string> all;
    for (const Part& part : parts_) {
      for (std::string& warning : part.source->warnings()) all.push_back(std::move(warning));
    }
    return all;
  }
  std::vector<MemoryUse> memory() const override {
    std::vector<MemoryUse> all;
    for (const Part& part : parts_) {
      for (MemoryUse& use : part.source->memory()) all.push_back(std::move(use));
    }
    return all;
  }

 private:
  struct Part {
    std::string name;
    double weight;
    std::unique_ptr<const RewardSource> source;
  };
  std::vector<Part> parts_;
  std::vector<std::string> labels_;
};

// For messages.
std::string name_of(const RewardConfig& config) {
  std::string name(enum_name(config.kind));
  if (config.name) name += " " + *config.name;
  if (config.path) name += " " + config.path->name;
  if (config.command) name += fmt::format(" `{}`", *config.command);
  return name;
}

// Keys that a kind does not read.
void check_no_effect(const RewardConfig& config, Problems& problems) {
  const auto unused = [&](bool given, const char* key) {
    if (given)
      problems.push_back(
          fmt::format("{}: has no effect with kind: {}", key, enum_name(config.kind)));
  };
  const bool loads = config.kind == RewardKind::model || config.kind == RewardKind::adapter;
  if (!loads) unused(config.path.has_value(), "path");
  if (config.kind != RewardKind::model) unused(config.quantize != Quantize::none, "quantize");
  if (config.kind != RewardKind::command) {
    unused(config.command.has_value(), "command");
    unused(config.timeout_seconds != kRewardTimeoutSeconds, "timeout_seconds");
  }
  if (config.kind != RewardKind::function) {
    unused(config.name.has_value(), "name");
    unused(!config.parameters.empty(), "parameters");
    unused(!config.words.empty(), "words");
  }
}

Problems problems_of(const RewardConfig& config) {
  Problems problems;
  if (!std::isfinite(config.weight)) problems.emplace_back("weight: has to be a finite number");
  if (config.label && (config.label->empty() || config.label->find('/') != std::string::npos)) {
    problems.emplace_back("label: has to be a name without `/`: it is part of a metric's name");
  }
  switch (config.kind) {
    case RewardKind::function:
      for (std::string& problem : reward_function_problems(config)) {
        problems.push_back(std::move(problem));
      }
      break;
    case RewardKind::model:
      if (!config.path) problems.emplace_back("path: kind: model needs a checkpoint");
      break;
    case RewardKind::adapter:
      if (!config.path) problems.emplace_back("path: kind: adapter needs an adapter folder");
      break;
    case RewardKind::command:
      if (!config.command || config.command->empty())
        problems.emplace_back("command: kind: command needs a command line");
      break;
    case RewardKind::http:
      problems.push_back(
          fmt::format("kind: {} is not built yet (there are function, model, adapter and command)",
                      enum_name(config.kind)));
  }
  check_no_effect(config, problems);
  return problems;
}

std::unique_ptr<const RewardSource> make_source(const RewardConfig& config,
                                                const RewardContext& context) {
  if (config.kind == RewardKind::function) return std::make_unique<FunctionReward>(config);
  if (config.kind == RewardKind::command) {
    return std::make_unique<CommandReward>(*config.command, config.timeout_seconds);
  }
  if (config.kind == RewardKind::adapter) {
    return std::make_unique<AdapterReward>(config.path->name, context);
  }
  if (std::filesystem::exists(std::filesystem::path(config.path->name) / "adapter_config.json")) {
    throw FormatError(
        config.path->name +
        ": is an adapter, not a checkpoint; kind: adapter reads it on the shared base");
  }
  return std::make_unique<ModelReward>(resolve_model(*config.path), context, config.quantize);
}

}  // namespace

std::vector<std::string> reward_labels(const std::vector<RewardConfig>& configs) {
  std::vector<std::string> labels;
  std::map<std::string, int64_t> times;
  for (const RewardConfig& config : configs) {
    const std::string label =
        config.label.value_or(config.name.value_or(std::string(enum_name(config.kind))));
    const int64_t count = ++times[label];
    labels.push_back(count == 1 ? label : fmt::format("{}_{}", label, count));
  }
  return labels;
}

std::vector<std::string> reward_problems(const std::vector<RewardConfig>& configs) {
  if (configs.empty()) return {"reward: needs at least one source"};
  Problems problems;
  for (size_t i = 0; i < configs.size(); ++i) {
    for (const std::string& problem : problems_of(configs[i])) {
      problems.push_back(fmt::format("reward[{}].{}", i, problem));
    }
  }
  return problems;
}

std::unique_ptr<const RewardSource> make_reward(const std::vector<RewardConfig>& configs,
                                                const RewardContext& context) {
  const Problems problems = reward_problems(configs);
  if (!problems.empty()) throw ConfigError(fmt::format("{}", fmt::join(problems, "\n")));
  auto reward = std::make_unique<WeightedReward>(reward_labels(configs));
  for (size_t i = 0; i < configs.size(); ++i) {
    const RewardConfig& config = configs[i];
    reward->add(fmt::format("reward[{}] ({})", i, name_of(config)), config.weight,
                make_source(config, context));
  }
  return reward;
}

}  // namespace leash

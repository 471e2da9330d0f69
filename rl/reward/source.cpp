// Builds the reward of a run from its configuration.
#include "rl/reward/source.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
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

class WeightedReward final : public RewardSource {
 public:
  void add(double weight, std::unique_ptr<const RewardSource> source) {
    parts_.emplace_back(weight, std::move(source));
  }
  std::vector<double> score(const std::vector<RewardSample>& samples) const override {
    std::vector<double> total(samples.size(), 0.0);
    for (const auto& [weight, source] : parts_) {
      const std::vector<double> scores = source->score(samples);
      TORCH_CHECK(scores.size() == samples.size(), "a reward source has to score every sample");
      for (size_t i = 0; i < total.size(); ++i) total[i] += weight * scores[i];
    }
    return total;
  }
  std::optional<int64_t> context() const override {
    std::optional<int64_t> least;
    for (const auto& [weight, source] : parts_) {
      const auto limit = source->context();
      if (limit) least = std::min(*limit, least.value_or(*limit));
    }
    return least;
  }

  std::vector<MemoryUse> memory() const override {
    std::vector<MemoryUse> all;
    for (const auto& [weight, source] : parts_) {
      for (MemoryUse& use : source->memory()) all.push_back(std::move(use));
    }
    return all;
  }

 private:
  std::vector<std::pair<double, std::unique_ptr<const RewardSource>>> parts_;
};

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
  auto reward = std::make_unique<WeightedReward>();
  for (const RewardConfig& config : configs) {
    reward->add(config.weight, make_source(config, context));
  }
  return reward;
}

}  // namespace leash

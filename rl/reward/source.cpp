// Builds the reward of a run from its configuration.
#include "rl/reward/source.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <stdexcept>
#include <utility>

#include "models/errors.h"
#include "models/io/checkpoint.h"
#include "rl/reward/adapter.h"
#include "rl/reward/command.h"
#include "rl/reward/functions.h"
#include "rl/reward/http.h"
#include "rl/reward/model.h"
#include "rl/reward/scale.h"

namespace leash {
namespace {

using Problems = std::vector<std::string>;

class FunctionReward final : public RewardSource {
 public:
  explicit FunctionReward(const RewardConfig& config) : function_(config) {}
  std::vector<double> score(const std::vector<RewardSample>& samples) const override {
    std::vector<double> scores;
    scores.reserve(samples.size());
    for (const RewardSample& sample : samples) scores.push_back(function_(sample));
    return scores;
  }
  void check_prompt(const PromptRecord& prompt) const override {
    function_.check_row(prompt.row.get());
  }

 private:
  RewardFunction function_;
};

// In float32 its square is finite, and so is the sum of a batch of them.
constexpr double kLargestScore = 1e12;

// What the losses cannot work with is an error here, where it is known whose it is.
void check_scores(const std::string& source, const RewardConfig& config,
                  const std::vector<double>& scores) {
  for (size_t i = 0; i < scores.size(); ++i) {
    const double weighted = std::abs(config.weight * clipped(config, scores[i]));
    const double least = config.normalize == Normalize::running ? std::abs(scores[i]) : 0.0;
    if (std::isfinite(scores[i]) && std::max(weighted, least) <= kLargestScore) continue;
    throw RewardFailure(fmt::format(
        "{} gave answer {} of {} the score {:g}{}; a score has to be a finite number of at most "
        "{:g}",
        source, i + 1, scores.size(), scores[i],
        config.weight == 1 ? "" : fmt::format(" (times its weight, {:g})", config.weight),
        kLargestScore));
  }
}

class WeightedReward final : public RewardSource {
 public:
  explicit WeightedReward(std::vector<RewardConfig> configs)
      : configs_(std::move(configs)), labels_(reward_labels(configs_)) {}
  void add(std::string name, std::unique_ptr<const RewardSource> source) {
    parts_.push_back({std::move(name), std::move(source)});
  }
  std::vector<double> score(const std::vector<RewardSample>& samples) const override {
    return score_parts(samples).total;
  }
  RewardScores score_parts(const std::vector<RewardSample>& samples) const override {
    RewardScores all;
    for (size_t i = 0; i < parts_.size(); ++i) {
      const auto begin = std::chrono::steady_clock::now();
      all.parts.push_back(scores_of(i, samples));
      all.seconds.push_back(
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    for (size_t i = 0; i < samples.size(); ++i) {
      std::vector<double> row;
      for (const std::vector<double>& part : all.parts) row.push_back(part[i]);
      all.total.push_back(plain_total(configs_, row));
    }
    return all;
  }
  std::vector<std::string> labels() const override { return labels_; }
  std::optional<int64_t> context() const override {
    std::optional<int64_t> least;
    for (const auto& [name, source] : parts_) {
      const auto limit = source->context();
      if (limit) least = std::min(*limit, least.value_or(*limit));
    }
    return least;
  }

  void check_prompt(const PromptRecord& prompt) const override {
    for (const Part& part : parts_) part.source->check_prompt(prompt);
  }
  void keep_logs_in(const std::filesystem::path& folder, int64_t rank) const override {
    for (const Part& part : parts_) part.source->keep_logs_in(folder, rank);
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
    std::unique_ptr<const RewardSource> source;
  };

  std::vector<double> scores_of(size_t index, const std::vector<RewardSample>& samples) const {
    const auto& [name, source] = parts_[index];
    std::vector<double> scores;
    try {
      scores = source->score(samples);
    } catch (const FormatError&) {
      throw;
    } catch (const ConfigError&) {
      throw;
    } catch (const c10::Error&) {
      throw;  // out of memory, for one, is explained elsewhere
    } catch (const std::exception& error) {
      throw RewardFailure(error.what());
    }
    TORCH_CHECK(scores.size() == samples.size(), "a reward source has to score every sample");
    check_scores(name, configs_[index], scores);
    return scores;
  }

  std::vector<RewardConfig> configs_;
  std::vector<std::string> labels_;
  std::vector<Part> parts_;
};

// For messages.
std::string name_of(const RewardConfig& config) {
  std::string name(enum_name(config.kind));
  if (config.name) name += " " + *config.name;
  if (config.path) name += " " + config.path->name;
  if (config.command) name += fmt::format(" `{}`", *config.command);
  if (config.url) name += " " + *config.url;
  return name;
}

// Keys that a kind does not read.
void check_no_effect(const RewardConfig& config, Problems& problems) {
  const RewardKind kind = config.kind;
  const auto unused = [&](bool given, const char* key) {
    if (given) {
      problems.push_back(fmt::format("{}: has no effect with kind: {}", key, enum_name(kind)));
    }
  };
  const RewardConfig plain;
  const bool command = kind == RewardKind::command, http = kind == RewardKind::http;
  const bool loads = kind == RewardKind::model || kind == RewardKind::adapter;
  if (!loads) unused(config.path.has_value(), "path");
  if (kind != RewardKind::model) unused(config.quantize != Quantize::none, "quantize");
  if (!command) {
    unused(config.command.has_value(), "command");
    unused(config.folder.has_value(), "folder");
    unused(config.mode != CommandMode::per_batch, "mode");
  }
  if (!command || config.mode != CommandMode::persistent) {
    if (config.max_restarts != plain.max_restarts) {
      problems.emplace_back("max_restarts: has no effect without mode: persistent");
    }
  }
  if (!http) {
    unused(config.url.has_value(), "url");
    unused(config.header_env.has_value(), "header_env");
    unused(config.ca_file.has_value(), "ca_file");
    unused(config.batch_size != plain.batch_size, "batch_size");
    unused(config.concurrency != plain.concurrency, "concurrency");
    unused(config.retries != plain.retries, "retries");
  }
  if (!command && !http) {
    unused(config.timeout_seconds != plain.timeout_seconds, "timeout_seconds");
    unused(config.ids, "ids");
  }
  if (kind == RewardKind::function) return;
  for (const auto& [key, given] : given_function_keys(config)) unused(given, key.c_str());
}

void check_clip(const RewardConfig& config, Problems& problems) {
  if (config.clip.empty()) return;
  const bool finite =
      std::ranges::all_of(config.clip, [](double end) { return std::isfinite(end); });
  if (config.clip.size() != 2 || !finite || config.clip[0] >= config.clip[1]) {
    problems.emplace_back("clip: has to be [lowest, highest]");
  }
}

Problems problems_of(const RewardConfig& config) {
  Problems problems;
  if (!std::isfinite(config.weight)) problems.emplace_back("weight: has to be a finite number");
  if (config.label && (config.label->empty() || config.label->find('/') != std::string::npos)) {
    problems.emplace_back("label: has to be a name without `/`: it is part of a metric's name");
  }
  check_clip(config, problems);
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
      for (std::string& problem : http_problems(config)) problems.push_back(std::move(problem));
  }
  check_no_effect(config, problems);
  return problems;
}

std::unique_ptr<const RewardSource> make_source(const RewardConfig& config,
                                                const std::string& label,
                                                const RewardContext& context) {
  if (config.kind == RewardKind::function) return std::make_unique<FunctionReward>(config);
  if (config.kind == RewardKind::http) return std::make_unique<HttpReward>(config);
  if (config.kind == RewardKind::command) {
    return std::make_unique<CommandReward>(
        CommandOptions{.command = *config.command,
                       .folder = config.folder.value_or(std::filesystem::path()),
                       .mode = config.mode,
                       .timeout_seconds = config.timeout_seconds,
                       .max_restarts = config.max_restarts,
                       .ids = config.ids,
                       .label = label});
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
  auto reward = std::make_unique<WeightedReward>(configs);
  const std::vector<std::string> labels = reward_labels(configs);
  for (size_t i = 0; i < configs.size(); ++i) {
    reward->add(fmt::format("reward[{}] ({})", i, name_of(configs[i])),
                make_source(configs[i], labels[i], context));
  }
  return reward;
}

}  // namespace leash

// All settings of one source of reward (an entry of the list `reward:`).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/families/model_config.h"
#include "models/fields.h"

namespace leash {

enum class RewardKind { function, model, adapter, command, http };
template <>
struct EnumNames<RewardKind> {
  static constexpr std::pair<RewardKind, std::string_view> values[] = {
      {RewardKind::function, "function"},
      {RewardKind::model, "model"},
      {RewardKind::adapter, "adapter"},
      {RewardKind::command, "command"},
      {RewardKind::http, "http"}};
};

inline constexpr double kRewardTimeoutSeconds = 600;

// One source of reward; the scores of all are added up with their weights.
struct RewardConfig {
  RewardKind kind = RewardKind::function;
  double weight = 1.0;
  std::optional<std::string> label;                // in the names of metrics
  std::optional<ModelPath> path;                   // model: the checkpoint; adapter: its folder
  Quantize quantize = Quantize::none;              // model: its weights
  std::optional<std::string> name;                 // function: which
  std::map<std::string, double> parameters;        // function: its numbers
  std::vector<std::string> words;                  // function: its words
  std::optional<std::string> command;              // command: what a shell runs
  double timeout_seconds = kRewardTimeoutSeconds;  // command: of one batch
};
template <class Config, class Visitor>
requires Describes<Config, RewardConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("kind", c.kind,
        "function (by name), model (a sequence-classification checkpoint) or adapter (what task: "
        "reward trained, read on the shared base), or command (a program of your own); http is not "
        "built yet");
  visit("weight", c.weight, "factor of this score in the sum");
  visit("label", c.label,
        "names the metrics rewards/<label>/mean and /std, which are taken before the weight (null: "
        "the function's name, else the kind; equal ones are numbered)");
  visit("path", c.path, "model: the checkpoint; adapter: its folder");
  visit("quantize", c.quantize, "model: how its weights are kept in memory, as model.quantize");
  visit("name", c.name, "function: its name, see docs/algorithms/ppo.md");
  visit("parameters", c.parameters, "function: its numbers by name");
  visit("words", c.words, "function: its list of words");
  visit("command", c.command,
        "command: a shell runs it for every batch; it reads JSON lines with prompt, answer and "
        "ended, and prints a number per line");
  visit("timeout_seconds", c.timeout_seconds,
        "command: a batch that takes longer ends the run, and the program with all that it started",
        above(0));
}

}  // namespace leash

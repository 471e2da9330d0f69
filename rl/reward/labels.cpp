#include "rl/reward/labels.h"

#include <fmt/format.h>

#include <algorithm>

namespace leash {

std::vector<std::string> reward_labels(const std::vector<RewardConfig>& configs) {
  std::vector<std::string> labels;
  const auto taken = [&](const std::string& label) {
    return std::ranges::find(labels, label) != labels.end();
  };
  for (const RewardConfig& config : configs) {
    const std::string name =
        config.label.value_or(config.name.value_or(std::string(enum_name(config.kind))));
    std::string label = name;
    for (int64_t count = 2; taken(label); ++count) label = fmt::format("{}_{}", name, count);
    labels.push_back(std::move(label));
  }
  return labels;
}

RewardColumns reward_columns(const std::vector<RewardConfig>& configs) {
  RewardColumns columns;
  for (const RewardConfig& config : configs) {
    if (config.kind == RewardKind::command || config.kind == RewardKind::http) columns.all = true;
    if (!config.column) continue;
    columns.names.push_back(*config.column);
    columns.names.push_back(config.column->substr(0, config.column->find('.')));
  }
  return columns;
}

}  // namespace leash

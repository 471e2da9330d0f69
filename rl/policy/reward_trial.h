// What a recipe's sources of reward say of given answers, or of some that are sampled first.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "rl/policy/config.h"
#include "rl/reward/score_table.h"

namespace leash {

struct RewardTrialOptions {
  // Prompts as in data.train, with or without answers; none: the first of data.train.
  std::optional<std::filesystem::path> input = {};
  // The key of the answers (a text, a list of texts, or a list of messages, of which the last
  // assistant's counts). None: `completion`, else `answer` unless a source reads that column.
  std::optional<std::string> answer_key = {};
  int64_t num_prompts = 16;  // answered where there are no answers
};

// Scores the answers; where no line has one, the recipe's policy as it would start answers the
// first prompts as in its first iteration. A line's `ended` (true where it has none) says whether
// its answer ended by itself. Loads the policy only to sample, and for a reward adapter.
// ConfigError; FormatError, also where some lines have answers and others not.
ScoreTable try_rewards(const PolicySetup& setup, const PolicyConfig& config,
                       const RewardTrialOptions& options);

}  // namespace leash

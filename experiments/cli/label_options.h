// The options of leash label.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "experiments/cli/options.h"
#include "experiments/label/sampler.h"

namespace leash::cli {

extern const CommandHelp kLabelHelp;

struct LabelOptions {
  std::vector<std::string> merge;
  std::optional<std::string> out;  // always there but for merging
  bool json = false;
  std::optional<std::string> pairs, prompts;
  std::vector<label::AnswerSource> adapters;
  std::vector<double> temperatures;
  std::optional<int64_t> answers, max_new_tokens, ahead;
  int64_t count = INT64_MAX;
  std::optional<uint64_t> seed;
  std::vector<std::string> users;
  double shared = 1.0;
  std::string host;
  int port = 0;
  bool terminal = false;
  bool rule = false;
  double judge_noise = 0;
  bool uncertain = false;
  std::optional<std::string> reward_recipe;
  int64_t retrain = 20;

  int64_t answers_of(size_t sources) const {
    return answers.value_or(std::max<int64_t>(2, static_cast<int64_t>(sources)));
  }
};

boost::program_options::options_description label_options();
// ConfigError with all problems.
LabelOptions read_label_options(const boost::program_options::variables_map& values);

}  // namespace leash::cli

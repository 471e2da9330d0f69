// What a recipe says that labelling reads, whatever its task is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "configs/experiment.h"
#include "models/families/model_config.h"
#include "rl/data/chat_config.h"
#include "rl/policy/config.h"
#include "rl/reward/config.h"

namespace leash::label {

struct LabelRecipe {
  ModelConfig model = {};
  ChatConfig chat = {};
  std::string device = "cpu";
  std::optional<std::filesystem::path> adapter = {};  // lora.path
  std::optional<std::filesystem::path> prompts = {};  // data.train, where it holds prompts
  int64_t max_prompt_length = 512;
  bool shuffle = true;
  RolloutConfig rollout = {};             // defaults, where the task samples nothing
  std::vector<RewardConfig> reward = {};  // likewise none
  RunConfig run = {};
};
LabelRecipe label_recipe(const Experiment& experiment);

}  // namespace leash::label

#include "experiments/label/label_recipe.h"

#include <concepts>
#include <variant>

namespace leash::label {

LabelRecipe label_recipe(const Experiment& experiment) {
  LabelRecipe recipe;
  std::visit(
      [&]<class Setup>(const Setup& setup) {
        recipe.model = setup.model;
        recipe.chat = setup.data.chat;
        recipe.device = setup.devices.policy;
        recipe.run = setup.run;
        if (setup.lora.path) recipe.adapter = *setup.lora.path;
        if constexpr (std::derived_from<Setup, PolicySetup>) {
          recipe.prompts = setup.data.train;
          recipe.max_prompt_length = setup.data.max_prompt_length;
          recipe.shuffle = setup.data.shuffle;
          recipe.rollout = setup.rollout;
          recipe.reward = setup.reward;
        }
      },
      experiment.setup);
  return recipe;
}

}  // namespace leash::label

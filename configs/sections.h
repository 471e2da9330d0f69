// Which sections a recipe of each task has, once, for reading, writing and the docs.
#pragma once

#include <concepts>
#include <type_traits>

#include "configs/tasks.h"
#include "models/fields.h"

namespace leash {

// A task that trains one model with rl/training's loop.
template <class Setup>
concept Supervised = requires {
  requires std::derived_from<
      std::remove_cvref_t<decltype(std::declval<Setup>().*TaskTraits<Setup>::section)>,
      TrainingConfig>;
};

// A task that learns from answers which it samples.
template <class Setup>
concept SamplesAnswers = std::derived_from<Setup, PolicySetup>;

// visit(name, section, help) for the sections that PPO and its relatives read, in the order of
// resolved.yaml.
template <class Setup, class Visitor>
requires SamplesAnswers<std::remove_const_t<Setup>>
void visit_fields(Setup& s, Visitor&& visit) {
  using Traits = TaskTraits<std::remove_const_t<Setup>>;
  visit("model", s.model, Traits::model_help);
  visit("lora", s.lora, Traits::lora_help);
  visit("reference", s.reference, "what the policy is held close to");
  if constexpr (requires { s.critic; }) {
    visit("critic", s.critic, "what estimates the value of a state");
  }
  visit("reward", s.reward, "a list of sources; scores are added up with their weights");
  visit("data", s.data, Traits::data_help);
  visit("rollout", s.rollout, "how answers are sampled");
  visit(Traits::name, s.*Traits::section, Traits::section_help);
  visit("devices", s.devices, "on which device each role is");
  visit("lanes", s.lanes, "how the work of the roles runs side by side");
  visit("async", s.async, "sampling beside training");
  visit("run", s.run, "folder, seed, snapshots, logs");
}

// The same for the tasks that train one model on examples: what differs stands in their rows.
template <class Setup, class Visitor>
requires Supervised<std::remove_const_t<Setup>>
void visit_fields(Setup& s, Visitor&& visit) {
  using Traits = TaskTraits<std::remove_const_t<Setup>>;
  visit("model", s.model, Traits::model_help);
  visit("lora", s.lora, Traits::lora_help);
  if constexpr (requires { s.reference; }) {
    visit("reference", s.reference, "what the policy is held close to");
  }
  visit("data", s.data, Traits::data_help);
  visit(Traits::name, s.*Traits::section, Traits::section_help);
  visit("devices", s.devices, "on which device the model is");
  visit("run", s.run, "folder, seed, snapshots, logs");
}

}  // namespace leash

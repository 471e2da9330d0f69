// Which sections a recipe of each task has, once, for reading, writing and the docs.
#pragma once

#include "models/fields.h"
#include "rl/classification/config.h"
#include "rl/ppo/setup.h"
#include "rl/reward_model/config.h"
#include "rl/sft/config.h"

namespace leash {

// visit(name, section, help) for the sections that PPO reads, in the order of resolved.yaml.
template <class Setup, class Visitor>
requires Describes<Setup, PpoSetup>
void visit_fields(Setup& s, Visitor&& visit) {
  visit("model", s.model, "the frozen base that every role shares");
  visit("lora", s.lora, "what trains: low-rank updates of the base (names and meaning are PEFT's)");
  visit("reference", s.reference, "what the policy is held close to");
  visit("critic", s.critic, "what estimates the value of a state");
  visit("reward", s.reward, "a list of sources; scores are added up with their weights");
  visit("data", s.data, "prompts");
  visit("rollout", s.rollout, "how answers are sampled");
  visit("ppo", s.ppo, "the algorithm (names and meaning are TRL's)");
  visit("devices", s.devices, "on which device each role is");
  visit("lanes", s.lanes, "how the work of the roles runs side by side");
  visit("run", s.run, "folder, seed, snapshots, logs");
}

// The same for supervised fine-tuning.
template <class Setup, class Visitor>
requires Describes<Setup, SftSetup>
void visit_fields(Setup& s, Visitor&& visit) {
  visit("model", s.model, "the frozen base");
  visit("lora", s.lora, "what trains: low-rank updates of the base (names and meaning are PEFT's)");
  visit("data", s.data, "supervised samples (names and meaning are TRL's)");
  visit("sft", s.sft, "the algorithm (names and meaning are transformers')");
  visit("devices", s.devices, "on which device the model is");
  visit("run", s.run, "folder, seed, snapshots, logs");
}

// The same for the training of a reward model.
template <class Setup, class Visitor>
requires Describes<Setup, RewardSetup>
void visit_fields(Setup& s, Visitor&& visit) {
  visit("model", s.model, "the frozen base");
  visit("lora", s.lora,
        "what trains besides the score head: low-rank updates of the base (names and meaning are "
        "PEFT's)");
  visit("data", s.data, "pairs of answers (names and meaning are TRL's)");
  visit("reward", s.reward, "the algorithm (names and meaning are TRL's and transformers')");
  visit("devices", s.devices, "on which device the model is");
  visit("run", s.run, "folder, seed, snapshots, logs");
}

// The same for the training of a text classifier.
template <class Setup, class Visitor>
requires Describes<Setup, ClassificationSetup>
void visit_fields(Setup& s, Visitor&& visit) {
  visit("model", s.model, "the frozen base");
  visit("lora", s.lora,
        "what trains besides the score head: low-rank updates and whole modules of the base (names "
        "and meaning are PEFT's)");
  visit("data", s.data, "texts with a class each");
  visit("classification", s.classification, "the algorithm (names and meaning are transformers')");
  visit("devices", s.devices, "on which device the model is");
  visit("run", s.run, "folder, seed, snapshots, logs");
}

}  // namespace leash

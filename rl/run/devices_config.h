// The `devices:` section: on which device each role's weights are and its work runs.
#pragma once

#include <c10/core/Device.h>

#include <optional>
#include <string>
#include <string_view>

#include "models/fields.h"
#include "rollout/lanes.h"

namespace leash {

// The device of a name (cpu, cuda, cuda:1), whether it exists or not; `cuda` without a number is
// the GPU of this process: the first one, or that of its rank on this machine. ConfigError,
// beginning with `setting`, where it is no name of a device.
at::Device named_device(std::string_view name, std::string_view setting);
// The same, and it has to exist.
at::Device usable_device(std::string_view name, std::string_view setting);

// Device of a single-model task.
struct ModelDevice {
  std::string policy = "cpu";

  at::Device device() const { return usable_device(policy, "devices.policy"); }
};
template <class Config, class Visitor>
requires Describes<Config, ModelDevice>
void visit_fields(Config& c, Visitor&& visit) {
  visit("policy", c.policy,
        "of the model that trains: cpu, cuda (with several processes each its own GPU), or cuda:1 "
        "for the second GPU");
}

// Devices of PPO's roles. A role on another device than the policy's has a copy of the base there
// where it needs it; roles on one device share one.
struct DevicesConfig {
  std::string policy = "cpu";
  std::optional<std::string> reference = {};
  std::optional<std::string> critic = {};
  std::optional<std::string> reward = {};

  const std::string& name(Role role) const;
  at::Device of(Role role) const;
  // Streams of the lanes of roles on GPUs; the actor's has the high priority, since sampling and
  // update are what the others wait for.
  RoleStreams streams() const;
};
template <class Config, class Visitor>
requires Describes<Config, DevicesConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("policy", c.policy,
        "of policy, sampling and update: cpu, cuda (with several processes each its own GPU), or "
        "cuda:1 for the second GPU");
  visit("reference", c.reference, "of the reference (null: the policy's)");
  visit("critic", c.critic, "of the critic (null: the policy's; a shared one is always there)");
  visit("reward", c.reward, "of reward models and adapters (null: the policy's)");
}

}  // namespace leash

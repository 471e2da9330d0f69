#include "rl/run/devices_config.h"

#include <fmt/format.h>

#include "models/device/device.h"
#include "models/errors.h"
#include "rl/distributed/launch.h"

namespace leash {

at::Device named_device(std::string_view name, std::string_view setting) {
  return parse_device(name, setting, [] {
    return static_cast<c10::DeviceIndex>(read_launch(process_environment()).local_rank);
  });
}

at::Device usable_device(std::string_view name, std::string_view setting) {
  const at::Device device = named_device(name, setting);
  if (const auto problem = device_problem(device)) {
    throw ConfigError(fmt::format("{}: {}", setting, *problem));
  }
  return device;
}

const std::string& DevicesConfig::name(Role role) const {
  switch (role) {
    case Role::actor:
      break;
    case Role::reference:
      return reference ? *reference : policy;
    case Role::critic:
      return critic ? *critic : policy;
    case Role::reward:
      return reward ? *reward : policy;
  }
  return policy;
}

at::Device DevicesConfig::of(Role role) const {
  const std::string_view setting = role == Role::actor ? "policy" : enum_name(role);
  return usable_device(name(role), fmt::format("devices.{}", setting));
}

RoleStreams DevicesConfig::streams() const {
  return [devices = *this](Role role) {
    return device_stream(devices.of(role), /*urgent=*/role == Role::actor);
  };
}

}  // namespace leash

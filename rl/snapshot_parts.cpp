#include "rl/snapshot_parts.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <torch/headeronly/version.h>

#include <map>
#include <nlohmann/json.hpp>

#include "models/device.h"
#include "models/errors.h"
#include "models/io/fingerprint.h"
#include "models/io/peft_adapter.h"
#include "models/io/safetensors.h"

namespace leash {

NumericEnvironment NumericEnvironment::current(const Checkpoint& checkpoint,
                                               const ModelConfig& model, int64_t threads_per_lane) {
  return {.base = fingerprint(checkpoint.path),
          .quantize = std::string(enum_name(model.quantize)),
          .dtype = c10::toString(scalar_type(model.dtype)),
          .threads = threads_per_lane > 0 ? threads_per_lane : at::get_num_threads(),
          .cpu_capability = at::get_cpu_capability(),
          .build = TORCH_VERSION};
}

nlohmann::ordered_json environment_json(const NumericEnvironment& environment) {
  return {{"base", environment.base},
          {"quantize", environment.quantize},
          {"dtype", environment.dtype},
          {"threads", environment.threads},
          {"cpu_capability", environment.cpu_capability},
          {"build", environment.build}};
}

void check_environment(const nlohmann::json& saved, const NumericEnvironment& current,
                       bool allow_inexact) {
  const nlohmann::json now = environment_json(current);
  if (saved == now || allow_inexact) return;
  throw ConfigError(fmt::format(
      "the snapshot was written with {}, this run would use {}: its numbers would differ from an "
      "uninterrupted run's; --allow-inexact goes on all the same",
      saved.dump(), now.dump()));
}

void copy_into(const NamedTensors& targets, const NamedTensors& saved, const std::string& origin) {
  const c10::AutoGradMode no_grad(false);
  std::map<std::string, at::Tensor> by_name(saved.begin(), saved.end());
  for (const auto& [name, tensor] : targets) {
    const auto found = by_name.find(name);
    if (found == by_name.end() || found->second.sizes() != tensor.sizes()) {
      throw FormatError(fmt::format(
          "{}: has no tensor {} of the shape that this recipe trains; was the recipe changed?",
          origin, name));
    }
    tensor.detach().copy_(found->second);
  }
  if (by_name.size() != targets.size()) {
    throw FormatError(origin +
                      ": holds tensors that this recipe does not train; was the recipe changed?");
  }
}

void read_adapter_into(const std::filesystem::path& folder, Adapter& adapter) {
  (void)load_adapter(folder, adapter.modules());  // says what does not fit
  // From the file itself, in the type that it was trained in.
  copy_into(adapter.named_tensors(), read_safetensors(folder / "adapter_model.safetensors"),
            folder.string());
}

}  // namespace leash

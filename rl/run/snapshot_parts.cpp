#include "rl/run/snapshot_parts.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/headeronly/version.h>

#include <map>
#include <nlohmann/json.hpp>

#include "models/device/device.h"
#include "models/errors.h"
#include "models/io/fingerprint.h"
#include "models/io/safetensors.h"
#include "models/lora/peft_adapter.h"

namespace leash {
namespace {

std::string shown(const nlohmann::json& object, const std::string& key) {
  const auto found = object.find(key);
  if (found == object.end()) return "none";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

// "threads 2 (now 1)" for each of these keys whose value has changed.
std::vector<std::string> differences(const nlohmann::json& saved, const nlohmann::json& now,
                                     const std::vector<std::string>& keys) {
  std::vector<std::string> lines;
  for (const std::string& key : keys) {
    const std::string before = shown(saved, key), after = shown(now, key);
    if (before != after) lines.push_back(fmt::format("{} {} (now {})", key, before, after));
  }
  return lines;
}

// Shapes do not show lora_alpha, and half of an update is another policy.
void require_equal_scaling(const Adapter& saved, const Adapter& wanted, const std::string& folder) {
  for (size_t i = 0; i < wanted.modules().size(); ++i) {
    const LoraWeights* was = saved.lora(static_cast<int64_t>(i));
    const LoraWeights* is = wanted.lora(static_cast<int64_t>(i));
    if (was == nullptr || is == nullptr || was->scaling == is->scaling) continue;
    throw ConfigError(
        fmt::format("{}: its adapter scales {} by {:g}, this recipe by {:g}: lora_alpha, "
                    "use_rslora, r and their "
                    "patterns have to be those of the run",
                    folder, wanted.modules()[i].path, was->scaling, is->scaling));
  }
}

// By role; nothing where there is nothing to read: whoever reads the data says so.
std::map<std::string, DataFingerprint> fingerprints(const DataFiles& files) {
  std::map<std::string, DataFingerprint> data;
  const auto add = [&](const char* role, const std::filesystem::path& file) {
    if (!std::filesystem::is_regular_file(file)) return;
    data[role] = {.file = file.filename().string(), .content = fingerprint(file)};
  };
  add("train", files.train);
  if (files.eval) add("eval", *files.eval);
  return data;
}

nlohmann::ordered_json data_json(const std::map<std::string, DataFingerprint>& data) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [role, was] : data) {
    json[role] = {{"file", was.file}, {"fingerprint", was.content}};
  }
  return json;
}

// What the snapshot knows of a role's data. Snapshots of before have fingerprints by file name:
// where both roles' files have one name, that is the held-out data's, and the other is unknown.
std::optional<DataFingerprint> saved_data(const nlohmann::json& saved, const std::string& role,
                                          const std::map<std::string, DataFingerprint>& now) {
  const nlohmann::json data = saved.value("data", nlohmann::json::object());
  if (const auto found = data.find(role); found != data.end() && found->is_object()) {
    return DataFingerprint{.file = found->at("file"), .content = found->at("fingerprint")};
  }
  const std::string& file = now.at(role).file;
  const auto found = data.find(file);
  if (found == data.end() || !found->is_string()) return std::nullopt;
  const bool hidden = role == "train" && now.contains("eval") && now.at("eval").file == file;
  return DataFingerprint{.file = file, .content = hidden ? "unknown" : found->get<std::string>()};
}

// Another file is a change of the recipe, reported elsewhere; the same one may have changed.
std::vector<std::string> changed_data(const nlohmann::json& saved,
                                      const std::map<std::string, DataFingerprint>& now) {
  std::vector<std::string> lines;
  for (const auto& [role, is] : now) {
    const auto was = saved_data(saved, role, now);
    if (!was || was->file != is.file || was->content == is.content) continue;
    lines.push_back(
        fmt::format("{} {} (data.{}; now {})", was->file, was->content, role, is.content));
  }
  return lines;
}

}  // namespace

NumericEnvironment NumericEnvironment::current(const Checkpoint& checkpoint,
                                               const ModelConfig& model, at::Device device,
                                               const DataFiles& data, int64_t threads_per_lane) {
  return {.base = fingerprint(checkpoint.path),
          .quantize = std::string(enum_name(model.quantize)),
          .data = fingerprints(data),
          .dtype = c10::toString(scalar_type(model.dtype, device)),
          .device = c10::DeviceTypeName(device.type(), /*lower_case=*/true),
          .threads = threads_per_lane > 0 ? threads_per_lane : at::get_num_threads(),
          .cpu_capability = at::get_cpu_capability(),
          .build = TORCH_VERSION};
}

nlohmann::ordered_json environment_json(const NumericEnvironment& environment) {
  nlohmann::ordered_json json = {{"base", environment.base},
                                 {"quantize", environment.quantize},
                                 {"others", environment.others},
                                 {"data", data_json(environment.data)},
                                 {"dtype", environment.dtype},
                                 {"threads", environment.threads},
                                 {"cpu_capability", environment.cpu_capability},
                                 {"build", environment.build}};
  // Snapshots of before there were devices do not say that they come from a CPU.
  if (environment.device != "cpu") json["device"] = environment.device;
  return json;
}

void check_environment(const nlohmann::json& saved, const NumericEnvironment& current,
                       bool allow_inexact, Console& console) {
  const nlohmann::json now = environment_json(current);
  auto models = differences(saved, now, {"base", "quantize"});
  // A role that is new, or gone, is a change of the recipe, which is reported elsewhere.
  const nlohmann::json others = saved.value("others", nlohmann::json::object());
  for (const auto& [role, ignored] : current.others) {
    if (!others.contains(role)) continue;
    for (const std::string& line : differences(others, now.at("others"), {role}))
      models.push_back(line);
  }
  if (!models.empty()) {
    throw ConfigError(
        fmt::format("the snapshot belongs to another model: {}; go on with the model that the run "
                    "began with, or start anew with another --run-dir",
                    fmt::join(models, ", ")));
  }
  auto numerics =
      differences(saved, now, {"dtype", "device", "threads", "cpu_capability", "build"});
  for (const std::string& line : changed_data(saved, current.data)) numerics.push_back(line);
  if (numerics.empty()) return;
  if (!allow_inexact) {
    throw ConfigError(
        fmt::format("the snapshot was written with {}: numbers would differ from an uninterrupted "
                    "run's; --allow-inexact goes on all the same",
                    fmt::join(numerics, ", ")));
  }
  console.message(
      fmt::format("--allow-inexact: the snapshot was written with {}; from here on numbers differ "
                  "from an uninterrupted run's",
                  fmt::join(numerics, ", ")));
}

int64_t saved_count(const nlohmann::json& state, const char* key, const std::string& origin,
                    int64_t most) {
  const auto found = state.find(key);
  const bool whole = found != state.end() && found->is_number_integer();
  const int64_t count = whole ? found->get<int64_t>() : -1;
  if (count >= 0 && count <= most) return count;
  throw FormatError(fmt::format("{}: {} is {}, not a whole number from 0 to {}", origin, key,
                                shown(state, key), most));
}

int64_t saved_step(const nlohmann::json& state, const std::filesystem::path& folder) {
  const std::string origin = (folder / "state.json").string();
  const int64_t step = saved_count(state, "step", origin);
  if (folder.filename() == fmt::format("step-{}", step)) return step;
  throw FormatError(fmt::format("{}: step is {}, not that of the folder's name", origin, step));
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
  const Adapter saved = load_adapter(folder, adapter.modules());  // says what does not fit
  // From the file itself, in the type that it was trained in.
  copy_into(adapter.file_tensors(), read_safetensors(folder / "adapter_model.safetensors"),
            folder.string());
  require_equal_scaling(saved, adapter, folder.string());
}

}  // namespace leash

// A folder of PEFT's, read for a given decoder and written from an adapter.
#include "models/lora/peft_adapter.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <system_error>

#include "models/errors.h"
#include "models/io/atomic_file.h"
#include "models/io/safetensors.h"
#include "models/notices.h"
#include "models/printable.h"

namespace leash {
namespace {

constexpr const char* kConfigFile = "adapter_config.json";
constexpr const char* kTensorFile = "adapter_model.safetensors";
constexpr const char* kPeftPrefix = "base_model.model.";
constexpr size_t kMaxShownName = 200;

std::shared_ptr<const TensorSource> open_tensors(const std::filesystem::path& folder) {
  const auto file = folder / kTensorFile;
  std::error_code error;  // what cannot be looked at counts as missing
  if (std::filesystem::exists(file, error)) return open_safetensors(file);
  const bool pickled = std::filesystem::exists(folder / "adapter_model.bin", error);
  throw FormatError(fmt::format(
      "{}: no such file{}", file.string(),
      pickled ? "; adapter_model.bin is not read: save the adapter again with PEFT, which writes "
                "safetensors"
              : ""));
}

// Takes tensors out of a file by PEFT's names, and remembers what was taken.
class TensorTaker {
 public:
  TensorTaker(const TensorSource& source) : source_(source) {}

  bool contains(const std::string& name) const { return source_.contains(name); }

  at::Tensor take(const std::string& name, const std::vector<int64_t>& shape) {
    if (!source_.contains(name)) {
      throw FormatError(fmt::format(
          "{}: tensor {} is missing; {}the file is not complete, or the adapter belongs to another "
          "model",
          source_.origin(), printable(name, kMaxShownName), foreign_name()));
    }
    const std::vector<int64_t> actual = source_.shape(name);
    if (actual != shape) {
      throw FormatError(fmt::format(
          "{}: tensor {} has shape [{}] where [{}] is needed; the adapter belongs to another "
          "model, or to another {}",
          source_.origin(), printable(name, kMaxShownName), fmt::join(actual, ", "),
          fmt::join(shape, ", "), kConfigFile));
    }
    taken_.insert(name);
    return trainable_leaf(source_.read(name, at::kFloat));
  }

  // A module's own weight, as it lies in memory here.
  at::Tensor take_weight(const std::string& name, const ModuleInfo& module) {
    const at::Tensor weight = take(name, file_weight_shape(module));
    return module.transposed ? trainable_leaf(weight.t()) : weight;
  }

  // What would be left out of the computation silently.
  void check_all_taken() const {
    for (const std::string& name : source_.names()) {
      if (taken_.contains(name)) continue;
      throw FormatError(fmt::format(
          "{}: tensor {} has no place: this model has no such module, or {} does not address it",
          source_.origin(), printable(name, kMaxShownName), kConfigFile));
    }
  }

 private:
  // What the file holds instead, where its names are not PEFT's.
  std::string foreign_name() const {
    for (const std::string& name : source_.names()) {
      if (name.starts_with(kPeftPrefix)) continue;
      return fmt::format("it holds {} instead, and PEFT's names begin with {}: ",
                         printable(name, kMaxShownName), kPeftPrefix);
    }
    return "";
  }

  const TensorSource& source_;
  std::set<std::string> taken_;
};

LoraMatches match_file(const LoraConfig& config, const std::vector<ModuleInfo>& modules,
                       const std::string& origin) {
  try {
    return match_modules(config, modules, Unmatched::ignore);
  } catch (const ConfigError& error) {
    throw FormatError(fmt::format("{}: does not fit this model: {}", origin, error.what()));
  }
}

// PEFT goes by the base's modules as well, and says so.
void compare_fan_in_fan_out(const LoraConfig& config, const LoraMatches& matches,
                            const std::vector<ModuleInfo>& modules, const std::string& origin) {
  const auto transposed = [&](const LoraTarget& target) {
    return modules[static_cast<size_t>(target.module)].transposed;
  };
  const bool any = std::ranges::any_of(matches.targets, transposed);
  if (matches.targets.empty() || config.fan_in_fan_out == any) return;
  notice_once(fmt::format(
      "warning: {}: fan_in_fan_out is {}, but this model's weights are {}: it is taken as {}",
      origin, config.fan_in_fan_out, any ? "[in, out] (Conv1D)" : "[out, in]", any));
}

// Newer versions put the bias of an adapted module under base_layer, older ones did not.
std::string bias_name(const TensorTaker& tensors, const std::string& prefix, bool adapted) {
  const std::string inner = prefix + ".base_layer.bias";
  return adapted && tensors.contains(inner) ? inner : prefix + ".bias";
}

}  // namespace

Adapter load_adapter(const std::filesystem::path& folder, const std::vector<ModuleInfo>& modules) {
  const LoraConfig config = read_adapter_config(folder);
  const LoraMatches matches = match_file(config, modules, (folder / kConfigFile).string());
  compare_fan_in_fan_out(config, matches, modules, (folder / kConfigFile).string());
  const auto source = open_tensors(folder);
  TensorTaker tensors(*source);
  Adapter adapter(config, modules);
  const auto info = [&](int64_t module) { return modules[static_cast<size_t>(module)]; };
  const auto prefix = [&](int64_t module) { return kPeftPrefix + info(module).path; };
  for (const LoraTarget& target : matches.targets) {
    const int64_t i = target.module;
    LoraWeights weights;
    weights.a = tensors.take(prefix(i) + ".lora_A.weight", {target.r, info(i).in_features});
    weights.b = tensors.take(prefix(i) + ".lora_B.weight", {info(i).out_features, target.r});
    weights.scaling = lora_scaling(config, target);
    adapter.set_lora(i, std::move(weights));
    const std::string base = prefix(i) + ".base_layer.weight";
    if (!tensors.contains(base)) continue;
    adapter.set_weight_copy(
        i, tensors.take_weight(base, info(i)).requires_grad_(/*requires_grad=*/false));
  }
  for (const int64_t i : matches.weight_copies) {
    adapter.set_weight_copy(i, tensors.take_weight(prefix(i) + ".weight", info(i)));
  }
  for (const int64_t i : matches.bias_copies) {
    const std::string name = bias_name(tensors, prefix(i), adapter.lora(i) != nullptr);
    adapter.set_bias_copy(i, tensors.take(name, bias_shape(info(i))));
  }
  tensors.check_all_taken();
  return adapter;
}

void save_adapter(const std::filesystem::path& folder, const Adapter& adapter,
                  const std::string& base_model,
                  const std::map<std::string, std::string>& metadata) {
  std::filesystem::create_directories(folder);
  std::map<std::string, std::string> all = metadata;
  all.emplace("format", "pt");
  write_safetensors(folder / kTensorFile, adapter.file_tensors(), all);
  const std::string text = adapter_config_text(adapter, base_model);
  AtomicFile config(folder / kConfigFile);
  config.write(text.data(), text.size());
  config.commit();
}

}  // namespace leash

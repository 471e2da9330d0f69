// Helpers for rules across settings, for the checks of every task.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "configs/problems.h"
#include "models/decoder/load_weight.h"
#include "models/device/device.h"
#include "models/errors.h"
#include "models/families/model_config.h"
#include "models/io/checkpoint.h"
#include "models/lora/lora.h"
#include "rl/run/devices_config.h"
#include "rl/run/run_config.h"

namespace leash {

class Checker {
 public:
  Checker(const Written& written, Problems& problems) : written_(written), problems_(problems) {}

  void require(bool fine, const std::string& path, const std::string& what) {
    if (!fine) problems_.add(written_, path, what);
  }
  // An error when the user wrote `path` although `read` says that nobody reads it.
  void no_effect_unless(bool read, const std::string& path, const std::string& condition) {
    if (!read && written_.contains(path)) {
      problems_.add(written_, path, "has no effect " + condition);
    }
  }

 private:
  const Written& written_;
  Problems& problems_;
};

// lora.path leaves nothing else in that section to choose, and no update nothing about one.
inline void check_lora(const LoraConfig& lora, Checker& check) {
  for (const char* field :
       {"r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules", "bias", "task_type",
        "use_rslora", "modules_to_save", "trainable", "layers_to_transform", "rank_pattern",
        "alpha_pattern", "init_lora_weights"}) {
    check.no_effect_unless(!lora.path, std::string("lora.") + field,
                           "with lora.path: it comes from that adapter");
  }
  const auto* names = std::get_if<std::vector<std::string>>(&lora.target_modules);
  const bool updates = names == nullptr || !names->empty();
  for (const char* field :
       {"r", "lora_alpha", "lora_dropout", "exclude_modules", "use_rslora", "layers_to_transform",
        "rank_pattern", "alpha_pattern", "init_lora_weights"}) {
    check.no_effect_unless(updates, std::string("lora.") + field, "with lora.target_modules: []");
  }
}

// `quantize: keep` needs a file that is quantised. A model that cannot be opened is left to the
// loading of it, which says more.
inline void check_quantize(const ModelConfig& model, Checker& check) {
  if (model.quantize != Quantize::keep) return;
  std::optional<std::string> problem;
  try {
    problem = keep_problem(open_checkpoint(resolve_model(model.path)));
  } catch (const FormatError&) {
    return;
  }
  check.require(!problem, "model.quantize", problem.value_or(""));
}

// A name that is no device has its own message.
inline bool is_cpu(const std::string& device) {
  try {
    return parse_device(device, "").is_cpu();
  } catch (const ConfigError&) {
    return true;
  }
}

// Whether two names are one device to this process; likewise.
inline bool same_device(const std::string& a, const std::string& b) {
  try {
    return named_device(a, "") == named_device(b, "");
  } catch (const ConfigError&) {
    return true;
  }
}

// `one_device`: whether all roles are on the policy's. `generates`: whether the task ever samples
// answers.
inline void check_fsdp(const RunConfig& run, const ModelConfig& model, bool one_device,
                       bool generates, Checker& check) {
  const bool shards = run.fsdp == Fsdp::full_shard;
  check.require(!shards || model.quantize == Quantize::none, "run.fsdp",
                "full_shard shards dense weights alone; with model.quantize each process keeps "
                "all of them");
  check.require(!shards || one_device, "run.fsdp",
                "full_shard shards the policy's base, which roles on other devices do not share: "
                "their copy would be whole on each process; leave all roles on devices.policy");
  check.no_effect_unless(shards, "run.gather_for_generation", "without run.fsdp: full_shard");
  check.no_effect_unless(generates, "run.gather_for_generation", "where no answers are sampled");
}

// That a device exists where the recipe is read: on the machine that runs it.
inline void check_device(const std::string& name, const std::string& path, Checker& check) {
  try {
    (void)usable_device(name, path);
  } catch (const ConfigError& error) {
    const std::string what = error.what();
    check.require(false, path, what.starts_with(path + ": ") ? what.substr(path.size() + 2) : what);
  }
}

// What float32, in which everything trains, can hold.
inline void check_rate(double rate, const std::string& path, Checker& check) {
  check.require(rate <= 1e38, path, "is beyond what a float32 number can be multiplied with");
}

inline void check_saving(const RunConfig& run, Checker& check) {
  check.no_effect_unless(run.save_strategy == SaveStrategy::steps, "run.save_steps",
                         "without run.save_strategy: steps");
}

}  // namespace leash

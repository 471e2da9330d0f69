// What the snapshots of all trainers are made of.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/families/model_config.h"
#include "models/io/checkpoint.h"
#include "models/lora/lora.h"
#include "rl/run/console.h"

namespace leash {

// The files that a run reads its data from.
struct DataFiles {
  std::filesystem::path train;
  std::optional<std::filesystem::path> eval;
};

// What a data file held.
struct DataFingerprint {
  std::string file;  // its name, without folders
  std::string content;

  bool operator==(const DataFingerprint&) const = default;
};

// What must not change for a resumed run to be bit-identical; compared on resume. Other weights are
// another model; the rest decides about the last bits only.
struct NumericEnvironment {
  std::string base;                                  // the checkpoint's fingerprint
  std::string quantize;                              // of the base
  std::map<std::string, std::string> others = {};    // second models' fingerprints by role
  std::map<std::string, DataFingerprint> data = {};  // by role: train, eval
  std::string dtype;
  std::string device = "cpu";  // the policy's kind
  int64_t threads = 0;         // of one operation
  std::string cpu_capability;  // what LibTorch dispatches to: AVX2, AVX512
  std::string build;           // LibTorch's version

  // `threads_per_lane` as in LanesConfig: 0 for as many as the calling thread has.
  static NumericEnvironment current(const Checkpoint& checkpoint, const ModelConfig& model,
                                    at::Device device, const DataFiles& data,
                                    int64_t threads_per_lane = 0);
  bool operator==(const NumericEnvironment&) const = default;
};

nlohmann::ordered_json environment_json(const NumericEnvironment& environment);

// Compares `saved` (as environment_json wrote it) with `current`. ConfigError that names what
// differs: where it is a model, always; where it is what only bits depend on, unless
// `allow_inexact`, which is then said on the console.
void check_environment(const nlohmann::json& saved, const NumericEnvironment& current,
                       bool allow_inexact, Console& console);

// A number of steps, prompts or the like in a snapshot's state.json. FormatError, beginning with
// `origin`, where it is not a whole number from 0 to `most`.
int64_t saved_count(const nlohmann::json& state, const char* key, const std::string& origin,
                    int64_t most = std::numeric_limits<int64_t>::max());
// The step that it says it was taken at, which is its folder's.
int64_t saved_step(const nlohmann::json& state, const std::filesystem::path& folder);

// Copies values into tensors that exist, so that optimizers and roles keep their leaves.
// FormatError when names or shapes differ.
void copy_into(const std::vector<std::pair<std::string, at::Tensor>>& targets,
               const std::vector<std::pair<std::string, at::Tensor>>& saved,
               const std::string& origin);

// Copies a snapshot's adapter (in PEFT's format) into `adapter`. ConfigError where it was trained
// with another scaling.
void read_adapter_into(const std::filesystem::path& folder, Adapter& adapter);

}  // namespace leash

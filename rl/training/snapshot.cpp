#include "rl/training/snapshot.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "models/errors.h"
#include "models/io/atomic_file.h"
#include "models/io/json_file.h"
#include "models/io/safetensors.h"
#include "models/lora/peft_adapter.h"
#include "rl/run/snapshot_parts.h"

namespace leash {

void TrainingState::evaluated(double loss) {
  if (std::isfinite(loss) && (!best_step || loss < best_loss)) {
    best_step = step;
    best_loss = loss;
    evaluations_without_gain = 0;
  } else {
    ++evaluations_without_gain;
  }
}

bool stopped_early(const TrainingConfig& config, const TrainingState& state) {
  return config.early_stopping_patience &&
         state.evaluations_without_gain >= *config.early_stopping_patience;
}

void write_training_snapshot(const std::filesystem::path& folder, const TrainingState& state,
                             const TrainedModel& model, const Optimizer& optimizer) {
  save_adapter(folder, model.adapter, model.checkpoint.path.string(), model.metadata());
  write_safetensors(folder / "optimizer.safetensors", optimizer.state());
  nlohmann::ordered_json json = {
      {"step", state.step},
      {"best_step", state.best_step ? nlohmann::ordered_json(*state.best_step) : nullptr},
      {"best_loss", state.best_loss},
      {"evaluations_without_gain", state.evaluations_without_gain},
      {"environment", environment_json(model.environment)}};
  if (state.grad_scaler) {
    json["skipped_steps"] = state.skipped_steps;
    json["grad_scaler"] = {{"scale", state.grad_scaler->scale},
                           {"growth_tracker", state.grad_scaler->growth_tracker}};
  }
  write_text_file(folder / "state.json", json.dump(1));
}

TrainingState read_training_snapshot(const std::filesystem::path& folder, TrainedModel& model,
                                     Optimizer& optimizer, bool allow_inexact, Console& console) {
  const nlohmann::json json = read_json_file(folder / "state.json");
  const std::string origin = (folder / "state.json").string();
  TrainingState state;
  try {
    check_environment(json.at("environment"), model.environment, allow_inexact, console);
    state.step = saved_step(json, folder);
    if (!json.at("best_step").is_null())
      state.best_step = saved_count(json, "best_step", origin, state.step);
    state.best_loss = json.at("best_loss");
    state.evaluations_without_gain = saved_count(json, "evaluations_without_gain", origin);
    if (json.contains("grad_scaler")) {  // of a run in float16
      const nlohmann::json& scaler = json["grad_scaler"];
      state.skipped_steps = saved_count(json, "skipped_steps", origin, state.step);
      state.grad_scaler = {.scale = scaler.at("scale"),
                           .growth_tracker = scaler.at("growth_tracker")};
    }
  } catch (const nlohmann::json::exception& error) {
    throw FormatError(origin + ": " + error.what());
  }
  read_adapter_into(folder, model.adapter);
  optimizer.load_state(read_safetensors(folder / "optimizer.safetensors"));
  return state;
}

}  // namespace leash

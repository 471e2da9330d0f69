#include "rl/training/loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "models/errors.h"
#include "models/lora/peft_adapter.h"
#include "rl/distributed/data_parallel.h"
#include "rl/optim/schedule.h"
#include "rl/run/memory_usage.h"
#include "rl/training/memory.h"
#include "rl/training/probe.h"

namespace leash {
namespace {

std::optional<GradScaler> make_scaler(const TrainingConfig& config, const Decoder& decoder) {
  if (decoder.dtype() != at::kHalf) return std::nullopt;
  return GradScaler(
      {.init_scale = config.fp16_init_scale, .growth_interval = config.fp16_growth_interval});
}

std::string no_scale_helps(int64_t step, double loss, double scale) {
  if (std::isfinite(loss)) {
    return fmt::format(
        "step {}: gradients are not finite in float16, not even those of {:g} times the loss; the "
        "update was not applied; take model.dtype: bfloat16 or float32",
        step, scale);
  }
  return fmt::format(
      "step {}: the loss is {}, and smaller gradients did not change that; the update was not "
      "applied. Either the run diverged, or values inside the model are beyond float16's largest "
      "number, 65504: take model.dtype: bfloat16 or float32",
      step, loss);
}

}  // namespace

TrainingLoop::TrainingLoop(const TrainingConfig& config, const RunConfig& run, TrainedModel& model,
                           const BatchOrder& order, const RunContext& context)
    : config_(config),
      run_(run),
      model_(model),
      order_(order),
      folder_(context.folder),
      communicator_(context.communicator),
      console_(context.console),
      optimizer_(make_optimizer(config, model.adapter)),
      scaler_(make_scaler(config, *model.decoder)),
      snapshots_(folder_, run.save_total_limit, communicator_.leads()) {
  if (folder_.snapshot()) {
    state_ = read_training_snapshot(folder_.snapshot()->path, model_, optimizer_,
                                    context.allow_inexact, console_);
    if (scaler_ && state_.grad_scaler) scaler_->load_state(*state_.grad_scaler);
    if (config_.load_best_model_at_end)
      require_best_snapshot(folder_.path(), state_.best_step, state_.step);
  }
  require_equal_parameters(communicator_, optimizer_.parameters(), "before the first step");
}

void TrainingLoop::announce_model() {
  console_.message(trainable_parameters_line(model_.adapter, model_.decoder->num_parameters()));
  if (const auto note = optimizer_.note()) console_.message(*note);
}

void TrainingLoop::announce_steps(const char* rows) {
  console_.message(fmt::format("{} steps of {} {}: {:.2f} epochs", num_steps(),
                               rows_per_step(config_), rows,
                               epochs_after(config_, order_, num_steps())));
}

std::vector<TrainingLoop::StepFile> TrainingLoop::compared_evaluations() const {
  std::vector<int64_t> steps = {0, state_.best_step.value_or(0), state_.step};
  steps.erase(std::unique(steps.begin(), steps.end()), steps.end());
  std::vector<StepFile> found;
  for (const int64_t step : steps) {
    const auto file = folder_.path() / "evaluations" / fmt::format("step-{}.json", step);
    if (std::filesystem::exists(file)) found.push_back({.step = step, .file = file});
  }
  return found;
}

bool TrainingLoop::done() const {
  return state_.step >= num_steps() || stopped_early(config_, state_);
}

RunOutcome TrainingLoop::train(const TrainingTask& task, const std::function<bool()>& interrupted) {
  RunLogOptions options = log_options(run_, num_steps(), state_.step, communicator_);
  options.columns = task.columns;
  RunLog log(folder_.path(), options, console_);
  if (state_.step == 0 && !snapshots_.newest() && config_.eval_on_start && task.holds_out) {
    Metrics metrics;
    evaluate(task, log, metrics);
    log.step(0, metrics);
  }
  bool stops = any_rank(communicator_, interrupted());
  while (!done() && !stops) {
    bool evaluates = false;
    const Metrics metrics = snapshots_.naming([&] {
      Metrics measured = iterate(task);
      evaluates =
          task.holds_out && evaluates_after(config_, order_, run_.logging_steps, state_.step);
      if (evaluates) evaluate(task, log, measured);
      return measured;
    });
    log.step(state_.step, metrics);
    stops = any_rank(communicator_, interrupted());
    const bool due = saves_after(run_, order_.batches_per_epoch(), state_.step);
    if (due || evaluates || done() || stops) {
      log.sync();
      snapshots_.written(save(task));
    }
  }
  console_.finish();
  if (stopped_early(config_, state_) && state_.step < num_steps()) {
    console_.message(
        fmt::format("stopped early after step {}: no lower held-out loss in {} evaluations",
                    state_.step, state_.evaluations_without_gain));
  }
  if (done()) snapshots_.naming([this] { return probe(); });
  if (done() && communicator_.leads()) export_adapter(task);
  return {.end = done() ? RunEnd::finished : RunEnd::interrupted,
          .step = state_.step,
          .last_snapshot = snapshots_.newest(),
          .best_step = state_.best_step,
          .exported_step = done() ? std::optional(exported_step()) : std::nullopt,
          .comparison = done() && communicator_.leads() ? task.compare() : ""};
}

// One optimizer step.
Metrics TrainingLoop::iterate(const TrainingTask& task) {
  const int64_t step = state_.step + 1;
  PhaseClock clock;
  const double gathered_before = gathered_megabytes(communicator_);

  // 1. Take the batch: its rows by seed and epoch.
  const std::vector<int64_t> rows = order_.batch(state_.step);

  // 2. Sum its gradients over micro-batches and ranks.
  console_.phase("summing gradients");
  optimizer_.zero_grad();
  const auto uses = [&] { return task.memory ? task.memory() : memory_uses(model_); };
  const auto lower = [this] { return settings_to_lower(config_); };
  const double loss_scale = scaler_ ? scaler_->scale() : 1.0;
  const BatchResult batch = explaining_memory(
      "summing gradients", uses, lower, [&] { return task.gradients(rows, step, loss_scale); });

  if (std::isfinite(batch.loss)) snapshots_.proven(state_.best_step);

  // 3. Clip, and refuse what is not finite before anything changes; float16 skips it.
  console_.phase("updating");
  const bool overflow =
      scaler_ && (!scaler_->unscale(optimizer_.parameters()) || !std::isfinite(batch.loss));
  const double grad_norm = clip_grad_norm(optimizer_.parameters(), config_.max_grad_norm);
  if (!overflow) {
    require_finite(batch.loss, "loss", step);
    require_finite(grad_norm, "gradient norm", step);
  }

  // 4. Step: only the adapter (with its head and its copies) changes.
  const double rate = learning_rate_at(schedule_of(config_, num_steps()), state_.num_updates());
  if (overflow) {
    skip(step, batch.loss);
  } else {
    explaining_memory("updating", uses, lower, [&] { optimizer_.step(rate); });
    if (scaler_) scaler_->update(/*overflow=*/false);
    require_finite_update(optimizer_.parameters(), "adapter's", step, rate);
  }
  state_.step = step;

  // 5. Report.
  const double seconds = clock.lap();
  Metrics metrics = {{"loss", batch.loss},
                     {"grad_norm", grad_norm},
                     {"learning_rate", rate},
                     {"epoch", epochs_after(config_, order_, step)}};
  if (scaler_) {
    metrics.emplace_back("loss_scale", loss_scale);
    metrics.emplace_back("step_skipped", overflow ? 1.0 : 0.0);
  }
  metrics.insert(metrics.end(), batch.metrics.begin(), batch.metrics.end());
  metrics.emplace_back("perf/seconds", seconds);
  metrics.emplace_back("perf/tokens_per_second", static_cast<double>(batch.rows) / seconds);
  add_memory(metrics);
  if (communicator_.gathers() != nullptr) {
    metrics.emplace_back("perf/gathered_mb", gathered_megabytes(communicator_) - gathered_before);
  }
  return metrics;
}

// Instead of an update: the loss scale shrinks, and the schedule stands still with the optimizer.
void TrainingLoop::skip(int64_t step, double loss) {
  const double before = scaler_->scale();
  scaler_->update(/*overflow=*/true);
  if (scaler_->scale() < kMinLossScale) throw NonFinite(no_scale_helps(step, loss, before));
  ++state_.skipped_steps;
  console_.message(fmt::format(
      "step {}: gradients of {:g} times the loss are not finite in float16; the update was "
      "skipped, and it goes on with {:g}",
      step, before, scaler_->scale()));
}

void TrainingLoop::evaluate(const TrainingTask& task, RunLog& log, Metrics& metrics) {
  console_.phase("evaluating");
  PhaseClock clock;
  const double loss = explaining_memory(
      "evaluating", [&] { return task.memory ? task.memory() : memory_uses(model_); },
      [this] { return settings_to_lower(config_); }, [&] { return task.evaluate(log, metrics); });
  metrics.emplace_back("perf/seconds_evaluation", clock.lap());
  if (state_.step > 0) state_.evaluated(loss);
}

Snapshot TrainingLoop::save(const TrainingTask& task) {
  console_.phase("saving");
  require_equal_parameters(communicator_, optimizer_.parameters(),
                           fmt::format("after step {}", state_.step));
  if (!communicator_.leads()) return snapshot_of(folder_.path(), state_.step);
  if (scaler_) state_.grad_scaler = scaler_->state();
  SnapshotWriter writer(folder_.path(), state_.step);
  write_training_snapshot(writer.folder(), state_, model_, optimizer_);
  if (task.write_beside) task.write_beside(writer.folder());
  return writer.commit();
}

// The last adapter; another one that is exported was evaluated.
Metrics TrainingLoop::probe() {
  if (exported_step() == state_.step) {
    require_usable(*model_.decoder, model_.adapter, communicator_.gathers().get(), state_.step);
  }
  snapshots_.proven(state_.best_step);
  return {};
}

int64_t TrainingLoop::exported_step() const {
  return config_.load_best_model_at_end ? state_.best_step.value_or(state_.step) : state_.step;
}

// `adapter/` in PEFT's format: the last adapter, or the best one.
void TrainingLoop::export_adapter(const TrainingTask& task) {
  Adapter adapter = model_.adapter;
  if (exported_step() != state_.step) {
    adapter =
        load_adapter(snapshot_of(folder_.path(), exported_step()).path, model_.adapter.modules());
  }
  save_adapter(folder_.path() / "adapter", adapter, model_.checkpoint.path.string(),
               model_.metadata());
  if (task.write_beside) task.write_beside(folder_.path() / "adapter");
}

}  // namespace leash

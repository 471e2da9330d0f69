#include "rl/reward_trainer.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/io/peft_adapter.h"
#include "rl/distributed/data_parallel.h"
#include "rl/memory_usage.h"
#include "rl/optim/schedule.h"
#include "rl/run_log.h"
#include "rl/snapshot_parts.h"
#include "rollout/inputs.h"

namespace leash {
namespace {

void check_vocabulary(const PreferenceData& data, const std::filesystem::path& file,
                      const DecoderConfig& config) {
  for (const PreferencePair& pair : data.pairs) {
    for (const auto& ids : {pair.chosen, pair.rejected}) {
      check_ids(ids, config, fmt::format("{}:{}", file.string(), pair.line));
    }
  }
}

BatchOrder order_of(const RewardSetup& setup, const std::vector<PreferencePair>& pairs) {
  std::vector<int64_t> lengths;
  for (const PreferencePair& pair : pairs) lengths.push_back(pair.rows());
  return batch_order(setup.reward, std::move(lengths), setup.data.shuffle, setup.run.seed);
}

// Tokens of the batches before step `steps`, so that a resumed run counts on.
int64_t tokens_of_steps(const BatchOrder& order, const std::vector<PreferencePair>& pairs,
                        int64_t steps) {
  int64_t tokens = 0;
  for (int64_t step = 0; step < steps; ++step) {
    for (const int64_t pair : order.batch(step)) tokens += pairs[pair].tokens();
  }
  return tokens;
}

}  // namespace

PreferenceDataSets read_preferences_for(const RewardSetup& setup, const TrainedModel& model) {
  const DecoderConfig& config = model.decoder->config();
  PreferenceDataSets sets =
      read_preference_data_sets(setup.data, model.tokenizer, config.max_positions,
                                data_seed_of(setup.reward, setup.run.seed));
  check_vocabulary(sets.train, setup.data.train, config);
  check_vocabulary(sets.eval, setup.data.eval.value_or(setup.data.train), config);
  return sets;
}

RewardLossOptions loss_options(const RewardTrainConfig& config) {
  return {.center_rewards_coefficient = config.center_rewards_coefficient.value_or(0.0),
          .label_smoothing = config.label_smoothing};
}

RewardEvaluation evaluate_pairs(const PreferenceData& pairs, const RewardSetup& setup,
                                const TrainedModel& model, Communicator& communicator) {
  return {.pairs = held_out_scores(pair_refs(pairs.pairs), setup.reward.micro_batch_tokens,
                                   *model.decoder, model.adapter, communicator)};
}

RewardTrainer::RewardTrainer(RewardSetup setup, RunFolder& folder, Communicator& communicator,
                             Console& console, bool allow_inexact)
    : setup_(std::move(setup)),
      folder_(folder),
      communicator_(communicator),
      console_(console),
      model_(load_reward_model(setup_)),
      data_(read_preferences_for(setup_, model_)),
      order_(order_of(setup_, data_.train.pairs)),
      optimizer_(make_optimizer(setup_.reward, model_.adapter)) {
  if (folder_.snapshot()) {
    state_ = read_training_snapshot(folder_.snapshot()->path, model_, optimizer_, allow_inexact);
    tokens_seen_ = tokens_of_steps(order_, data_.train.pairs, state_.step);
    last_snapshot_ = folder_.snapshot();
  }
  require_equal_parameters(communicator_, optimizer_.parameters(), "before the first step");
  announce();
}

// What the run is about to do, for the person.
void RewardTrainer::announce() {
  console_.message(trainable_parameters_line(model_.adapter, model_.decoder->num_parameters()));
  if (const auto note = optimizer_.note()) console_.message(*note);
  console_.message("training data: " + data_.train.counts.text());
  if (!data_.eval.pairs.empty()) {
    console_.message("held-out data: " + data_.eval.counts.text());
    if (const int64_t leaked = leaked_pairs(data_); leaked > 0) {
      console_.message(fmt::format(
          "warning: {} held-out pairs have a prompt that the training data has as well", leaked));
    }
  }
  console_.message(fmt::format("{} steps of {} pairs: {:.2f} epochs", num_steps(),
                               rows_per_step(setup_.reward),
                               epochs_after(setup_.reward, order_, num_steps())));
}

RunOutcome RewardTrainer::train(const std::function<bool()>& interrupted) {
  RunLogOptions options = log_options(setup_.run, num_steps(), state_.step, communicator_);
  options.columns = {
      {"loss", "loss"}, {"accuracy", "accuracy"}, {"held-out accuracy", "eval/accuracy"}};
  RunLog log(folder_.path(), options, console_);
  if (state_.step == 0 && !last_snapshot_ && setup_.reward.eval_on_start &&
      !data_.eval.pairs.empty()) {
    Metrics metrics;
    evaluate_and_log(log, metrics);
    log.step(0, metrics);
  }
  bool stops = any_rank(communicator_, interrupted());
  while (!done() && !stops) {
    Metrics metrics = name_last_snapshot(last_snapshot_, [this] { return iterate(); });
    const bool evaluates = evaluates_now();
    if (evaluates) evaluate_and_log(log, metrics);
    log.step(state_.step, metrics);
    stops = any_rank(communicator_, interrupted());
    const bool due = setup_.run.save_steps > 0 && state_.step % setup_.run.save_steps == 0;
    if (due || evaluates || done() || stops) {
      log.sync();
      last_snapshot_ = save();
    }
  }
  console_.finish();
  if (stopped_early(setup_.reward, state_) && state_.step < num_steps()) {
    console_.message(
        fmt::format("stopped early after step {}: no lower held-out loss in {} evaluations",
                    state_.step, state_.evaluations_without_gain));
  }
  if (done() && communicator_.leads()) export_adapter();
  return {.end = done() ? RunEnd::finished : RunEnd::interrupted,
          .step = state_.step,
          .last_snapshot = last_snapshot_,
          .best_step = state_.best_step,
          .comparison = done() && communicator_.leads() ? compare_with_start() : ""};
}

// One optimizer step.
Metrics RewardTrainer::iterate() {
  const int64_t step = state_.step + 1;
  PhaseClock clock;

  // 1. Take the batch: its pairs by seed and epoch.
  std::vector<const PreferencePair*> pairs;
  for (const int64_t pair : order_.batch(state_.step)) pairs.push_back(&data_.train.pairs[pair]);

  // 2. Sum the gradients over micro-batches. The loss is the mean over the batch's pairs.
  console_.phase("summing gradients");
  optimizer_.zero_grad();
  const RewardSums sums =
      accumulate_gradients(pairs, step, setup_, *model_.decoder, model_.adapter, communicator_);

  // 3. Clip, and refuse what is not finite before anything changes.
  console_.phase("updating");
  const double grad_norm = clip_grad_norm(optimizer_.parameters(), setup_.reward.max_grad_norm);
  require_finite(sums.loss, "loss", step);
  require_finite(grad_norm, "gradient norm", step);

  // 4. Step: only the adapter and its score head change.
  const double rate = learning_rate_at(schedule_of(setup_.reward, num_steps()), state_.step);
  optimizer_.step(rate);
  state_.step = step;
  tokens_seen_ += sums.tokens;

  // 5. Report.
  const double seconds = clock.lap();
  Metrics metrics = {{"loss", sums.loss},
                     {"grad_norm", grad_norm},
                     {"learning_rate", rate},
                     {"epoch", epochs_after(setup_.reward, order_, step)}};
  for (const auto& metric : reward_metrics(sums)) metrics.push_back(metric);
  metrics.emplace_back("num_tokens", static_cast<double>(tokens_seen_));
  metrics.emplace_back("perf/seconds", seconds);
  metrics.emplace_back("perf/tokens_per_second", static_cast<double>(sums.rows) / seconds);
  metrics.emplace_back("perf/peak_memory_mb", static_cast<double>(peak_memory_bytes()) / 1e6);
  return metrics;
}

void RewardTrainer::evaluate_and_log(RunLog& log, Metrics& metrics) {
  console_.phase("evaluating");
  PhaseClock clock;
  const RewardEvaluation evaluation = evaluate_pairs(data_.eval, setup_, model_, communicator_);
  if (communicator_.leads()) write_reward_evaluation(folder_.path(), state_.step, evaluation);
  const RewardLossOptions options = loss_options(setup_.reward);
  for (const auto& metric : evaluation.metrics(options)) metrics.push_back(metric);
  const auto shown =
      std::min(setup_.reward.eval_answers, static_cast<int64_t>(evaluation.pairs.size()));
  for (int64_t i = 0; i < shown; ++i) {
    const PreferencePair& pair = data_.eval.pairs[i];
    for (const bool chosen : {true, false}) {
      log.sample({.step = state_.step,
                  .index = i,
                  .decoding = chosen ? "chosen" : "rejected",
                  .prompt = pair.prompt_text,
                  .answer = chosen ? pair.chosen_text : pair.rejected_text,
                  .score = chosen ? evaluation.pairs[i].chosen : evaluation.pairs[i].rejected});
    }
  }
  metrics.emplace_back("perf/seconds_evaluation", clock.lap());
  if (state_.step > 0) state_.evaluated(evaluation.loss(options));
}

Snapshot RewardTrainer::save() {
  console_.phase("saving");
  require_equal_parameters(communicator_, optimizer_.parameters(),
                           fmt::format("after step {}", state_.step));
  if (!communicator_.leads()) return snapshot_of(folder_.path(), state_.step);
  SnapshotWriter writer(folder_.path(), state_.step);
  write_training_snapshot(writer.folder(), state_, model_, optimizer_);
  const Snapshot snapshot = writer.commit();
  prune_snapshots(folder_.path(), setup_.run.save_total_limit, state_.best_step);
  return snapshot;
}

// `adapter/` in PEFT's format: the last adapter with its head, or the best one.
void RewardTrainer::export_adapter() {
  Adapter adapter = model_.adapter;
  if (setup_.reward.load_best_model_at_end && state_.best_step &&
      *state_.best_step != state_.step) {
    adapter = load_adapter(folder_.path() / "snapshots" / fmt::format("step-{}", *state_.best_step),
                           model_.adapter.modules());
  }
  save_adapter(folder_.path() / "adapter", adapter, model_.checkpoint.path.string());
}

// Held-out figures before training (where they were taken), at the best step and at the last.
std::string RewardTrainer::compare_with_start() const {
  std::string table;
  const RewardLossOptions options = loss_options(setup_.reward);
  std::vector<int64_t> steps = {0, state_.best_step.value_or(0), state_.step};
  steps.erase(std::unique(steps.begin(), steps.end()), steps.end());
  for (const int64_t step : steps) {
    const auto file = folder_.path() / "evaluations" / fmt::format("step-{}.json", step);
    if (!std::filesystem::exists(file)) continue;
    const RewardEvaluation evaluation = read_reward_evaluation(file);
    table += fmt::format("{:>6}{:>15.4f}{:>26}{:>28}{}\n", step, evaluation.loss(options),
                         interval_text(evaluation.accuracy()), interval_text(evaluation.margin()),
                         step == state_.best_step ? "  best" : "");
  }
  if (table.empty()) return "";
  return fmt::format("{:>6}{:>15}{:>26}{:>28}\n", "step", "held-out loss", "accuracy [95 %]",
                     "mean margin [95 %]") +
         table;
}

int64_t RewardTrainer::num_steps() const { return total_steps(setup_.reward, order_); }

bool RewardTrainer::done() const {
  return state_.step >= num_steps() || stopped_early(setup_.reward, state_);
}

bool RewardTrainer::evaluates_now() const {
  return !data_.eval.pairs.empty() &&
         evaluates_after(setup_.reward, order_, setup_.run.logging_steps, state_.step);
}

}  // namespace leash

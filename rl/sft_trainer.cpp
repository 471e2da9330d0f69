#include "rl/sft_trainer.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "models/io/peft_adapter.h"
#include "rl/distributed/data_parallel.h"
#include "rl/memory_usage.h"
#include "rl/optim/schedule.h"
#include "rl/run_log.h"
#include "rl/sft_answers.h"
#include "rl/snapshot_parts.h"
#include "rollout/inputs.h"

namespace leash {
namespace {

std::vector<std::vector<int64_t>> rows_of(const SftSetup& setup, const SftModel& model,
                                          const std::vector<SftSample>& samples) {
  if (!setup.data.packing) {
    std::vector<std::vector<int64_t>> rows;
    for (size_t i = 0; i < samples.size(); ++i) rows.push_back({static_cast<int64_t>(i)});
    return rows;
  }
  std::vector<int64_t> lengths;
  for (const SftSample& sample : samples)
    lengths.push_back(static_cast<int64_t>(sample.ids.size()));
  const int64_t context = model.decoder->config().max_positions;
  return pack_best_fit(lengths, setup.data.max_length.value_or(context));
}

BatchOrder order_of(const SftSetup& setup, const std::vector<SftSample>& samples,
                    const std::vector<std::vector<int64_t>>& rows) {
  std::vector<int64_t> lengths;
  for (const auto& row : rows) {
    int64_t length = 0;
    for (const int64_t sample : row) length += static_cast<int64_t>(samples[sample].ids.size());
    lengths.push_back(length);
  }
  return batch_order(setup.sft, std::move(lengths), setup.data.shuffle, setup.run.seed);
}

void check_vocabulary(const SftData& data, const std::filesystem::path& file,
                      const DecoderConfig& config) {
  for (const SftSample& sample : data.samples) {
    check_ids(sample.ids, config, fmt::format("{}:{}", file.string(), sample.line));
  }
}

}  // namespace

std::vector<const SftSample*> sample_refs(const std::vector<SftSample>& samples) {
  std::vector<const SftSample*> refs;
  for (const SftSample& sample : samples) refs.push_back(&sample);
  return refs;
}

SftDataSets read_data_for(const SftSetup& setup, const SftModel& model) {
  const DecoderConfig& config = model.decoder->config();
  SftDataSets sets = read_sft_data_sets(setup.data, model.tokenizer, config.max_positions,
                                        data_seed_of(setup.sft, setup.run.seed));
  check_vocabulary(sets.train, setup.data.train, config);
  check_vocabulary(sets.eval, setup.data.eval.value_or(setup.data.train), config);
  return sets;
}

SftTrainer::SftTrainer(SftSetup setup, RunFolder& folder, Communicator& communicator,
                       Console& console, bool allow_inexact)
    : setup_(std::move(setup)),
      folder_(folder),
      communicator_(communicator),
      console_(console),
      model_(load_sft_model(setup_)),
      data_(read_data_for(setup_, model_)),
      rows_(rows_of(setup_, model_, data_.train.samples)),
      order_(order_of(setup_, data_.train.samples, rows_)),
      optimizer_(make_optimizer(setup_.sft, model_.adapter)) {
  if (folder_.snapshot()) {
    state_ = read_training_snapshot(folder_.snapshot()->path, model_, optimizer_, allow_inexact);
    last_snapshot_ = folder_.snapshot();
  }
  require_equal_parameters(communicator_, optimizer_.parameters(), "before the first step");
  announce();
}

// What the run is about to do, for the person.
void SftTrainer::announce() {
  console_.message(trainable_parameters_line(model_.adapter, model_.decoder->num_parameters()));
  if (const auto note = optimizer_.note()) console_.message(*note);
  console_.message("training data: " + data_.train.counts.text());
  if (setup_.data.packing) {
    console_.message(
        fmt::format("packed into {} rows of at most {} tokens", rows_.size(),
                    setup_.data.max_length.value_or(model_.decoder->config().max_positions)));
  }
  if (!data_.eval.samples.empty()) {
    console_.message("held-out data: " + data_.eval.counts.text());
  }
  console_.message(fmt::format("{} steps of {} rows: {:.2f} epochs", num_steps(),
                               rows_per_step(setup_.sft), epochs_after(num_steps())));
}

RunOutcome SftTrainer::train(const std::function<bool()>& interrupted) {
  RunLogOptions options = log_options(setup_.run, num_steps(), state_.step, communicator_);
  options.columns = {{"loss", "loss"}, {"held-out loss", "eval/loss"}};
  RunLog log(folder_.path(), options, console_);
  if (state_.step == 0 && !last_snapshot_ && setup_.sft.eval_on_start &&
      !data_.eval.samples.empty()) {
    Metrics metrics;
    evaluate_and_log(log, metrics);
    log.step(0, metrics);
  }
  const auto done = [&] { return state_.step >= num_steps() || stopped_early(); };
  bool stops = any_rank(communicator_, interrupted());
  while (!done() && !stops) {
    Metrics metrics = name_last_snapshot(last_snapshot_, [this] { return iterate(); });
    const bool evaluates = evaluates_after(state_.step);
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
  if (stopped_early() && state_.step < num_steps()) {
    console_.message(
        fmt::format("stopped early after step {}: no lower held-out loss in {} "
                    "evaluations",
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
Metrics SftTrainer::iterate() {
  const int64_t step = state_.step + 1;
  PhaseClock clock;

  // 1. Take the batch: its rows by seed and epoch, their samples one after another.
  std::vector<const SftSample*> samples;
  for (const int64_t row : order_.batch(state_.step)) {
    for (const int64_t sample : rows_[row]) samples.push_back(&data_.train.samples[sample]);
  }

  // 2. Sum the gradients over micro-batches and ranks. The loss is the mean over the batch's
  // trained tokens.
  console_.phase("summing gradients");
  optimizer_.zero_grad();
  const SftSums sums =
      accumulate_gradients(samples, step, setup_, *model_.decoder, model_.adapter, communicator_);

  // 3. Clip, and refuse what is not finite before anything changes.
  console_.phase("updating");
  const double grad_norm = clip_grad_norm(optimizer_.parameters(), setup_.sft.max_grad_norm);
  require_finite(sums.loss, "loss", step);
  require_finite(grad_norm, "gradient norm", step);

  // 4. Step: only the adapter changes.
  const double rate = learning_rate(state_.step);
  optimizer_.step(rate);
  state_.step = step;

  // 5. Report.
  const double seconds = clock.lap();
  const auto tokens = static_cast<double>(sums.tokens);
  return {{"loss", sums.loss},
          {"grad_norm", grad_norm},
          {"learning_rate", rate},
          {"epoch", epochs_after(step)},
          {"mean_token_accuracy", static_cast<double>(sums.correct) / tokens},
          {"trained_tokens", tokens},
          {"perf/seconds", seconds},
          {"perf/tokens_per_second", static_cast<double>(sums.rows) / seconds},
          {"perf/peak_memory_mb", static_cast<double>(peak_memory_bytes()) / 1e6}};
}

void SftTrainer::evaluate_and_log(RunLog& log, Metrics& metrics) {
  console_.phase("evaluating");
  PhaseClock clock;
  const SftSums sums = held_out_sums(sample_refs(data_.eval.samples), setup_.sft.micro_batch_tokens,
                                     *model_.decoder, &model_.adapter, communicator_);
  for (const auto& metric : held_out_metrics(sums)) metrics.push_back(metric);
  const int64_t num_answers = communicator_.leads() ? setup_.sft.eval_answers : 0;
  for (const SampleRecord& answer :
       answer_held_out(model_, data_.eval.samples, num_answers, state_.step)) {
    log.sample(answer);
  }
  metrics.emplace_back("perf/seconds_evaluation", clock.lap());
  if (state_.step == 0) return;
  const double loss = sums.nll / static_cast<double>(sums.tokens);
  state_.evaluated(loss);
}

Snapshot SftTrainer::save() {
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

// `adapter/` in PEFT's format: the last adapter, or the best one.
void SftTrainer::export_adapter() {
  Adapter adapter = model_.adapter;
  if (setup_.sft.load_best_model_at_end && state_.best_step && *state_.best_step != state_.step) {
    adapter = load_adapter(snapshot_of(folder_.path(), *state_.best_step).path,
                           model_.decoder->modules());
  }
  save_adapter(folder_.path() / "adapter", adapter, model_.checkpoint.path.string());
}

// Held-out figures at the first and the last evaluation, and at the best where it is another.
std::string SftTrainer::compare_with_start() const {
  std::string table;
  int64_t last = -1;
  const std::vector<MetricsRow> rows = read_metrics(folder_.path() / "metrics.jsonl");
  const auto value = [](const MetricsRow& row, const char* name) {
    for (const auto& [metric, number] : row.metrics) {
      if (metric == name) return number;
    }
    return std::numeric_limits<double>::quiet_NaN();
  };
  for (const MetricsRow& row : rows) {
    if (!std::isnan(value(row, "eval/loss"))) last = row.step;
  }
  for (const MetricsRow& row : rows) {
    if (std::isnan(value(row, "eval/loss"))) continue;
    const bool best = row.step == state_.best_step;
    if (!table.empty() && !best && row.step != last) continue;
    table += fmt::format("{:>6}{:>15.4f}{:>12.3f}{:>16.4f}{}\n", row.step, value(row, "eval/loss"),
                         value(row, "eval/perplexity"), value(row, "eval/mean_token_accuracy"),
                         best ? "  best" : "");
  }
  if (table.empty()) return "";
  return fmt::format("{:>6}{:>15}{:>12}{:>16}\n", "step", "held-out loss", "perplexity",
                     "token accuracy") +
         table;
}

int64_t SftTrainer::num_steps() const { return total_steps(setup_.sft, order_); }

bool SftTrainer::stopped_early() const { return leash::stopped_early(setup_.sft, state_); }

bool SftTrainer::evaluates_after(int64_t step) const {
  return !data_.eval.samples.empty() &&
         leash::evaluates_after(setup_.sft, order_, setup_.run.logging_steps, step);
}

double SftTrainer::learning_rate(int64_t step) const {
  return learning_rate_at(schedule_of(setup_.sft, num_steps()), step);
}

double SftTrainer::epochs_after(int64_t step) const {
  return leash::epochs_after(setup_.sft, order_, step);
}

}  // namespace leash

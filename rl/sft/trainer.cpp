#include "rl/sft/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "rl/run/run_log.h"
#include "rl/sft/answers.h"
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
  return read_data_for(setup, model.decoder->config(), model.tokenizer);
}

SftDataSets read_data_for(const SftSetup& setup, const DecoderConfig& config,
                          const Tokenizer& tokenizer) {
  SftDataSets sets = read_sft_data_sets(setup.data, tokenizer, config.max_positions,
                                        data_seed_of(setup.sft, setup.run.seed));
  check_vocabulary(sets.train, setup.data.train, config);
  check_vocabulary(sets.eval, setup.data.eval.value_or(setup.data.train), config);
  return sets;
}

namespace {

SftDataSets read_data_first(const SftSetup& setup) {
  const Checkpoint checkpoint = open_checkpoint(resolve_model(setup.model.path));
  return read_data_for(setup, checkpoint.config,
                       load_chat_tokenizer(checkpoint.path, setup.data.chat));
}

}  // namespace

SftTrainer::SftTrainer(SftSetup setup, const RunContext& context)
    : setup_(std::move(setup)),
      communicator_(context.communicator),
      data_(read_data_first(setup_)),
      model_(load_sft_model(setup_, sharded_base(setup_.run, communicator_))),
      rows_(rows_of(setup_, model_, data_.train.samples)),
      order_(order_of(setup_, data_.train.samples, rows_)),
      loop_(setup_.sft, setup_.run, model_, order_, context) {
  announce(context.console);
}

// What the run is about to do, for the user.
void SftTrainer::announce(Console& console) {
  loop_.announce_model();
  console.message("training data: " + data_.train.counts.text());
  if (setup_.data.packing) {
    console.message(
        fmt::format("packed into {} rows of at most {} tokens", rows_.size(),
                    setup_.data.max_length.value_or(model_.decoder->config().max_positions)));
  }
  if (!data_.eval.samples.empty()) console.message("held-out data: " + data_.eval.counts.text());
  loop_.announce_steps("rows");
}

RunOutcome SftTrainer::train(const std::function<bool()>& interrupted) {
  const TrainingTask task{
      .columns = {{"loss", "loss"}, {"held-out loss", "eval/loss"}},
      .holds_out = !data_.eval.samples.empty(),
      .gradients = [this](const std::vector<int64_t>& rows, int64_t step,
                          double loss_scale) { return gradients(rows, step, loss_scale); },
      .evaluate = [this](RunLog& log, Metrics& metrics) { return evaluate(log, metrics); },
      .compare = [this] { return compare_with_start(); }};
  return loop_.train(task, interrupted);
}

// Gradients of the mean loss over the batch's trained tokens.
BatchResult SftTrainer::gradients(const std::vector<int64_t>& rows, int64_t step,
                                  double loss_scale) {
  std::vector<const SftSample*> samples;
  for (const int64_t row : rows) {
    for (const int64_t sample : rows_[row]) samples.push_back(&data_.train.samples[sample]);
  }
  const SftSums sums =
      accumulate_gradients(samples, step, setup_, model_.adapted(), communicator_, loss_scale);
  // A batch without a trained token, which reading the data never makes, is no NaN either.
  const auto tokens = static_cast<double>(std::max<int64_t>(sums.tokens, 1));
  return {.loss = sums.loss,
          .rows = sums.rows,
          .metrics = {{"mean_token_accuracy", static_cast<double>(sums.correct) / tokens},
                      {"trained_tokens", static_cast<double>(sums.tokens)}}};
}

double SftTrainer::evaluate(RunLog& log, Metrics& metrics) {
  const SftSums sums = held_out_sums(sample_refs(data_.eval.samples), setup_.sft.micro_batch_tokens,
                                     model_.adapted(), communicator_);
  for (const auto& metric : held_out_metrics(sums)) metrics.push_back(metric);
  const int64_t num_answers = communicator_.leads() ? setup_.sft.eval_answers : 0;
  GatherScope scope(communicator_.gathers().get(), kept_without_gradients(setup_.run));
  const auto answers = answer_held_out(model_, data_.eval.samples, num_answers, loop_.state().step);
  scope.finish();
  for (const SampleRecord& answer : answers) log.sample(answer);
  return sums.nll / static_cast<double>(std::max<int64_t>(sums.tokens, 1));
}

// Held-out figures at the first and the last evaluation, and at the best where it is another.
std::string SftTrainer::compare_with_start() const {
  std::string table;
  int64_t last = -1;
  const std::vector<MetricsRow> rows = read_metrics(loop_.folder() / "metrics.jsonl");
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
    const bool best = row.step == loop_.state().best_step;
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

}  // namespace leash

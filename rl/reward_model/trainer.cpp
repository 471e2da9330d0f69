#include "rl/reward_model/trainer.h"

#include <fmt/format.h>

#include <algorithm>

#include "rl/run/run_log.h"
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
  return read_preferences_for(setup, model.decoder->config(), model.tokenizer);
}

PreferenceDataSets read_preferences_for(const RewardSetup& setup, const DecoderConfig& config,
                                        const Tokenizer& tokenizer) {
  PreferenceDataSets sets = read_preference_data_sets(setup.data, tokenizer, config.max_positions,
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
                                   model.adapted(), communicator)};
}

namespace {

PreferenceDataSets read_preferences_first(const RewardSetup& setup) {
  const Checkpoint checkpoint = open_checkpoint(resolve_model(setup.model.path));
  return read_preferences_for(setup, checkpoint.config,
                              load_chat_tokenizer(checkpoint.path, setup.data.chat));
}

}  // namespace

RewardTrainer::RewardTrainer(RewardSetup setup, const RunContext& context)
    : setup_(std::move(setup)),
      communicator_(context.communicator),
      data_(read_preferences_first(setup_)),
      model_(load_reward_model(setup_, sharded_base(setup_.run, communicator_))),
      order_(order_of(setup_, data_.train.pairs)),
      loop_(setup_.reward, setup_.run, model_, order_, context),
      tokens_seen_(tokens_of_steps(order_, data_.train.pairs, loop_.state().step)) {
  announce(context.console);
}

// What the run is about to do, for the user.
void RewardTrainer::announce(Console& console) {
  loop_.announce_model();
  console.message("training data: " + data_.train.counts.text());
  if (!data_.eval.pairs.empty()) {
    console.message("held-out data: " + data_.eval.counts.text());
    if (const int64_t leaked = leaked_pairs(data_); leaked > 0) {
      console.message(fmt::format(
          "warning: {} held-out pairs have a prompt that the training data has as well", leaked));
    }
  }
  loop_.announce_steps("pairs");
}

RunOutcome RewardTrainer::train(const std::function<bool()>& interrupted) {
  const TrainingTask task{
      .columns = {{"loss", "loss"},
                  {"accuracy", "accuracy"},
                  {"held-out accuracy", "eval/accuracy"}},
      .holds_out = !data_.eval.pairs.empty(),
      .gradients = [this](const std::vector<int64_t>& rows, int64_t step,
                          double loss_scale) { return gradients(rows, step, loss_scale); },
      .evaluate = [this](RunLog& log, Metrics& metrics) { return evaluate(log, metrics); },
      .compare = [this] { return compare_with_start(); }};
  return loop_.train(task, interrupted);
}

// Gradients of the mean loss over the batch's pairs: the adapter's and its score head's.
BatchResult RewardTrainer::gradients(const std::vector<int64_t>& rows, int64_t step,
                                     double loss_scale) {
  std::vector<const PreferencePair*> pairs;
  for (const int64_t pair : rows) pairs.push_back(&data_.train.pairs[pair]);
  const RewardSums sums =
      accumulate_gradients(pairs, step, setup_, model_.adapted(), communicator_, loss_scale);
  tokens_seen_ += sums.tokens;
  BatchResult result{.loss = sums.loss, .rows = sums.rows, .metrics = reward_metrics(sums)};
  result.metrics.emplace_back("num_tokens", static_cast<double>(tokens_seen_));
  return result;
}

double RewardTrainer::evaluate(RunLog& log, Metrics& metrics) {
  const int64_t step = loop_.state().step;
  const RewardEvaluation evaluation = evaluate_pairs(data_.eval, setup_, model_, communicator_);
  if (communicator_.leads()) write_reward_evaluation(loop_.folder(), step, evaluation);
  const RewardLossOptions options = loss_options(setup_.reward);
  for (const auto& metric : evaluation.metrics(options)) metrics.push_back(metric);
  const auto shown =
      std::min(setup_.reward.eval_answers, static_cast<int64_t>(evaluation.pairs.size()));
  for (int64_t i = 0; i < shown; ++i) {
    const PreferencePair& pair = data_.eval.pairs[i];
    for (const bool chosen : {true, false}) {
      log.sample({.step = step,
                  .index = i,
                  .decoding = chosen ? "chosen" : "rejected",
                  .prompt = pair.prompt_text,
                  .answer = chosen ? pair.chosen_text : pair.rejected_text,
                  .score = chosen ? evaluation.pairs[i].chosen : evaluation.pairs[i].rejected});
    }
  }
  return evaluation.loss(options);
}

// Held-out figures before training (where they were taken), at the best step and at the last.
std::string RewardTrainer::compare_with_start() const {
  std::string table;
  const RewardLossOptions options = loss_options(setup_.reward);
  for (const auto& [step, file] : loop_.compared_evaluations()) {
    const RewardEvaluation evaluation = read_reward_evaluation(file);
    table += fmt::format("{:>6}{:>15.4f}{:>26}{:>28}{}\n", step, evaluation.loss(options),
                         interval_text(evaluation.accuracy()), interval_text(evaluation.margin()),
                         step == loop_.state().best_step ? "  best" : "");
  }
  if (table.empty()) return "";
  return fmt::format("{:>6}{:>15}{:>26}{:>28}\n", "step", "held-out loss", "accuracy [95 %]",
                     "mean margin [95 %]") +
         table;
}

}  // namespace leash

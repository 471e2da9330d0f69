#include "rl/dpo/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "rl/preference/answers.h"
#include "rl/preference/kept_logprobs.h"
#include "rl/run/run_log.h"
#include "rollout/inputs.h"

namespace leash {
namespace {

void check_pairs_vocabulary(const PreferenceData& data, const std::filesystem::path& file,
                            const DecoderConfig& config) {
  for (const PreferencePair& pair : data.pairs) {
    for (const auto& ids : {pair.chosen, pair.rejected}) {
      check_ids(ids, config, fmt::format("{}:{}", file.string(), pair.line));
    }
  }
}

BatchOrder order_of(const DpoSetup& setup, const std::vector<PreferencePair>& pairs) {
  return batch_order(setup.dpo, rows_of(judged_pairs(pairs)), setup.data.shuffle, setup.run.seed);
}

// Tokens of the batches before step `steps`, so that a resumed run counts on.
int64_t tokens_before(const BatchOrder& order, const std::vector<PreferencePair>& pairs,
                      int64_t steps) {
  int64_t tokens = 0;
  for (int64_t step = 0; step < steps; ++step) {
    for (const int64_t pair : order.batch(step)) tokens += pairs[pair].tokens();
  }
  return tokens;
}

PreferenceDataSets read_pairs_first(const DpoSetup& setup) {
  const Checkpoint checkpoint = open_checkpoint(resolve_model(setup.model.path));
  return read_preferences_for(setup, checkpoint,
                              load_chat_tokenizer(checkpoint.path, setup.data.chat));
}

// The first `count` different prompts.
std::vector<HeldOutPrompt> first_prompts(const std::vector<PreferencePair>& pairs, int64_t count) {
  std::vector<HeldOutPrompt> prompts;
  std::set<int64_t> taken;
  for (size_t i = 0; i < pairs.size() && std::ssize(prompts) < count; ++i) {
    const PreferencePair& pair = pairs[i];
    if (pair.chosen_begin == 0 || !taken.insert(pair.prompt).second) continue;
    prompts.push_back({.ids = {pair.chosen.begin(), pair.chosen.begin() + pair.chosen_begin},
                       .text = pair.prompt_text,
                       .index = static_cast<int64_t>(i)});
  }
  return prompts;
}

}  // namespace

PreferenceDataSets read_preferences_for(const DpoSetup& setup, const Checkpoint& checkpoint,
                                        const Tokenizer& tokenizer) {
  PreferenceDataSets sets = read_preference_data_sets(
      setup.data, tokenizer, common_context(checkpoint, policy_source(setup)),
      data_seed_of(setup.dpo, setup.run.seed), PairUse::answers);
  check_pairs_vocabulary(sets.train, setup.data.train, checkpoint.config);
  check_pairs_vocabulary(sets.eval, setup.data.eval.value_or(setup.data.train), checkpoint.config);
  return sets;
}

DpoEvaluation evaluate_pairs(const PreferenceData& pairs, const DpoSetup& setup,
                             const PolicyBesideReference& policy, Communicator& communicator) {
  return {.pairs = compare_pairs(judged_pairs(pairs.pairs), setup.dpo, policy, communicator)};
}

DpoTrainer::DpoTrainer(DpoSetup setup, const RunContext& context)
    : setup_(std::move(setup)),
      communicator_(context.communicator),
      data_(read_pairs_first(setup_)),
      policy_(load_policy(policy_source(setup_), sharded_base(setup_.run, communicator_))),
      order_(order_of(setup_, data_.train.pairs)),
      loop_(setup_.dpo, setup_.run, policy_.model, order_, context),
      pairs_(judged_pairs(data_.train.pairs)),
      tokens_seen_(tokens_before(order_, data_.train.pairs, loop_.state().step)) {
  announce(context.console);
  if (setup_.dpo.precompute_ref_log_probs) precompute_reference(context.console);
}

// What the run is about to do, for the user.
void DpoTrainer::announce(Console& console) {
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

void DpoTrainer::precompute_reference(Console& console) {
  const std::string alpha =
      setup_.dpo.ld_alpha ? fmt::format("; ld_alpha {}", *setup_.dpo.ld_alpha) : "";
  const auto known = kept_logprobs(
      loop_.folder(), logprobs_fingerprint(policy_.model, answer_texts(pairs_), alpha),
      2 * std::ssize(pairs_), communicator_, [&] {
        console.phase("log-probs of the reference");
        return reference_logprobs(pairs_, setup_.dpo, policy_, communicator_);
      });
  for (size_t i = 0; i < pairs_.size(); ++i) {
    pairs_[i].reference = {.chosen = known[2 * i], .rejected = known[2 * i + 1]};
  }
}

RunOutcome DpoTrainer::train(const std::function<bool()>& interrupted) {
  const TrainingTask task{
      .columns = {{"loss", "loss"},
                  {"margin", "rewards/margins"},
                  {"held-out accuracy", "eval/rewards/accuracies"},
                  {"held-out KL", "eval/exact_kl"}},
      .holds_out = !data_.eval.pairs.empty(),
      .gradients = [this](const std::vector<int64_t>& rows, int64_t step,
                          double loss_scale) { return gradients(rows, step, loss_scale); },
      .evaluate = [this](RunLog& log, Metrics& metrics) { return evaluate(log, metrics); },
      .compare = [this] { return compare_with_start(); },
      .memory = [this] { return memory_uses(policy_); }};
  return loop_.train(task, interrupted);
}

BatchResult DpoTrainer::gradients(const std::vector<int64_t>& rows, int64_t step,
                                  double loss_scale) {
  std::vector<JudgedPair> pairs;
  for (const int64_t pair : rows) pairs.push_back(pairs_[pair]);
  const DpoSums sums =
      accumulate_gradients(pairs, step, setup_, policy_, communicator_, loss_scale);
  tokens_seen_ += sums.tokens;
  BatchResult result{.loss = sums.loss, .rows = sums.rows, .metrics = dpo_metrics(sums)};
  result.metrics.emplace_back("num_tokens", static_cast<double>(tokens_seen_));
  return result;
}

double DpoTrainer::evaluate(RunLog& log, Metrics& metrics) {
  const int64_t step = loop_.state().step;
  const DpoEvaluation evaluation = evaluate_pairs(data_.eval, setup_, policy_, communicator_);
  if (communicator_.leads()) write_dpo_evaluation(loop_.folder(), step, evaluation);
  const DpoLossOptions options = loss_options(setup_.dpo);
  for (const auto& metric : evaluation.metrics(options)) metrics.push_back(metric);
  GatherScope scope(communicator_.gathers().get(), kept_without_gradients(setup_.run));
  std::vector<HeldOutPrompt> prompts;
  if (communicator_.leads()) prompts = first_prompts(data_.eval.pairs, setup_.dpo.eval_answers);
  const auto answers = answer_prompts(policy_, prompts, step, setup_.dpo.micro_batch_tokens);
  scope.finish();
  for (const SampleRecord& answer : answers) log.sample(answer);
  return evaluation.loss(options);
}

// Held-out figures before training (where they were taken), at the best step and at the last.
std::string DpoTrainer::compare_with_start() const {
  std::string table;
  const DpoLossOptions options = loss_options(setup_.dpo);
  for (const auto& [step, file] : loop_.compared_evaluations()) {
    const DpoEvaluation evaluation = read_dpo_evaluation(file);
    table += fmt::format(
        "{:>6}{:>15.4f}{:>26}{:>28}{:>28}{}\n", step, evaluation.loss(options),
        interval_text(evaluation.accuracy()), interval_text(evaluation.margin(options.beta)),
        interval_text(evaluation.kl()), step == loop_.state().best_step ? "  best" : "");
  }
  if (table.empty()) return "";
  return fmt::format("{:>6}{:>15}{:>26}{:>28}{:>28}\n", "step", "held-out loss", "accuracy [95 %]",
                     "mean margin [95 %]", "KL per answer [95 %]") +
         table;
}

}  // namespace leash

#include "rl/policy/loop.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/errors.h"
#include "models/io/safetensors.h"
#include "models/lora/base_identity.h"
#include "models/lora/peft_adapter.h"
#include "rl/distributed/data_parallel.h"
#include "rl/optim/finite.h"
#include "rl/optim/schedule.h"
#include "rl/policy/best.h"
#include "rl/policy/critic_files.h"
#include "rl/policy/dynamic_sampling.h"
#include "rl/policy/experience.h"
#include "rl/policy/judging.h"
#include "rl/policy/memory.h"
#include "rl/policy/train_samples.h"
#include "rl/run/memory_usage.h"
#include "rl/run/run_log.h"
#include "rl/run/snapshot_parts.h"
#include "rl/training/probe.h"

namespace leash {
namespace {

// Each rank's own, so that they can be laid side by side.
std::optional<std::filesystem::path> timeline_file(const PolicySetup& setup,
                                                   const RunFolder& folder,
                                                   const Communicator& communicator) {
  if (!setup.lanes.timeline) return std::nullopt;
  return folder.path() / (communicator.leads()
                              ? "timeline.json"
                              : fmt::format("timeline-rank-{}.json", communicator.rank()));
}

// In a snapshot of an async run: the policy that samples the next batch.
constexpr const char* kSamplerFile = "sampler.safetensors";

// target_kl may have ended the update early.
double epochs_done(const Metrics& updated, const UpdateRules& rules) {
  const auto found = std::ranges::find(updated, "policy/num_epochs", &Metrics::value_type::first);
  return found == updated.end() ? static_cast<double>(rules.num_epochs) : found->second;
}

}  // namespace

LanesConfig lanes_of(const PolicySetup& setup) {
  LanesConfig lanes = setup.lanes;
  if (setup.run.fsdp == Fsdp::full_shard && !setup.run.gather_for_generation) {
    lanes.concurrent = false;
  }
  return lanes;
}

PolicyLoop::PolicyLoop(const PolicySetup& setup, const PolicyConfig& config, PolicyTask task,
                       PolicyRoles roles, const RunContext& context)
    : setup_(setup),
      config_(config),
      task_(std::move(task)),
      folder_(context.folder),
      communicator_(context.communicator),
      console_(context.console),
      roles_(std::move(roles)),
      optimizers_(config_, roles_, task_.critic.value_or(CriticTraining{}).optim),
      lanes_(lanes_of(setup_), timeline_file(setup_, folder_, communicator_), communicator_.rank(),
             setup_.devices.streams()),
      prompts_(read_policy_prompts(setup_.data.train, setup_, roles_)),
      state_({.kl_coef = task_.kl_coef}),
      snapshots_(folder_, setup_.run.save_total_limit, communicator_.leads()) {
  if (setup_.async.max_staleness > 0 && !config_.importance_sampling_correction &&
      recomputes_logprobs(config_, roles_.decoder->config(), roles_.decoder->weight_dtype(),
                          roles_.decoder->device())) {
    throw ConfigError(fmt::format(
        "async.max_staleness: in less than float32 log-probs are computed again, here by a later "
        "policy than the sampler: weigh them with {}.importance_sampling_correction: true",
        task_.section));
  }
  if (setup_.data.eval) held_out_ = read_policy_prompts(*setup_.data.eval, setup_, roles_);
  if (const std::string leaked = leaked_prompts(prompts_, held_out_); !leaked.empty()) {
    console_.message("warning: " + leaked);
  }
  if (folder_.snapshot()) {
    state_ = read_policy_snapshot(folder_.snapshot()->path, roles_, optimizers_,
                                  context.allow_inexact, console_);
    if (!task_.kl_target) {
      state_.kl_coef = task_.kl_coef;  // may have been changed
    } else {
      console_.message(fmt::format("the adaptive {} goes on from the snapshot: {:.4g}",
                                   task_.kl_coef_key, state_.kl_coef));
    }
    const auto sampler = folder_.snapshot()->path / kSamplerFile;
    if (setup_.async.max_staleness > 0 && std::filesystem::exists(sampler)) {
      behind_ = roles_.policy.clone();
      behind_->set_trainable(false);
      copy_into(behind_->named_tensors(), read_safetensors(sampler), sampler.string());
    }
    choose_best_again(folder_.path(), config_.best_max_kl, task_.section, state_, console_);
    require_best_snapshot(folder_.path(), state_.best_step, state_.step);
  }
  begin_rewards();
  require_equal_parameters(communicator_, trained_parameters(roles_), "before the first step");
  communicator_.show_in(lanes_.timeline());
  console_.message(trainable_parameters_line(roles_.policy, roles_.decoder->num_parameters()));
}

// Logs of programs, and what running normalisation goes on from.
void PolicyLoop::begin_rewards() {
  roles_.reward->keep_logs_in(folder_.path(), communicator_.rank());
  const bool resumed = folder_.snapshot().has_value();
  state_.reward_moments = fresh_moments(setup_.reward, state_.reward_moments);
  for (const RunningMoments& moments : state_.reward_moments) {
    if (!resumed || moments.count > 0) continue;
    console_.message(fmt::format(
        "reward {}: the snapshot has no mean and deviation of it; they begin anew", moments.label));
  }
  for (const std::string& warning : roles_.reward->warnings()) {
    console_.message("warning: " + warning);
  }
}

RunOutcome PolicyLoop::train(const std::function<bool()>& interrupted) {
  RunLog log(folder_.path(), log_options(setup_.run, num_steps(), state_.step, communicator_),
             console_);
  if (state_.step == 0 && !snapshots_.newest() && !held_out_.empty()) {
    Metrics metrics;
    evaluate_and_log(log, metrics);
    log.step(0, metrics);
  }
  bool stops = any_rank(communicator_, interrupted());
  while (state_.step < num_steps() && !stops) {
    const Metrics metrics = snapshots_.naming([&] {
      Metrics measured = iterate(log);
      if (evaluates_after(state_.step)) evaluate_and_log(log, measured);
      return measured;
    });
    log.step(state_.step, metrics);
    stops = any_rank(communicator_, interrupted());
    const bool due = saves_after(setup_.run, /*steps_per_epoch=*/1, state_.step);
    if (due || state_.step == num_steps() || evaluates_after(state_.step) || stops) {
      log.sync();
      snapshots_.written(save());
    }
  }
  console_.finish();
  const bool finished = state_.step >= num_steps();
  if (finished) snapshots_.naming([this] { return probe(); });
  if (finished && communicator_.leads()) {
    export_adapter();
    export_critic();
  }
  return {.end = finished ? RunEnd::finished : RunEnd::interrupted,
          .step = state_.step,
          .last_snapshot = snapshots_.newest(),
          .best_step = state_.best_step,
          .exported_step = finished ? std::optional(exported_step()) : std::nullopt,
          .comparison =
              finished && communicator_.leads() && !held_out_.empty() ? compare_with_start() : ""};
}

// One iteration (Schulman et al. 2017, algorithm 1, for language models as in Ziegler et al. 2019).
Metrics PolicyLoop::iterate(RunLog& log) {
  Costs costs{.gathered_before = gathered_megabytes(communicator_)};
  auto judged = sample_and_judge(costs, log);
  normalize_scores(setup_.reward, judged, state_.reward_moments);
  Experience experience = assemble(std::move(judged), config_.missing_eos_penalty);
  if (all_finite({experience.logprobs, experience.values})) snapshots_.proven(state_.best_step);

  // 3. Shape: rewards, advantages, returns.
  Metrics corrected = correct(experience, config_);
  task_.shape(experience, state_.kl_coef);
  Metrics metrics = task_.metrics(experience, state_.kl_coef);
  metrics.insert(metrics.end(), corrected.begin(), corrected.end());
  for (auto& metric : source_metrics(experience, roles_.reward->labels())) {
    metrics.push_back(std::move(metric));
  }
  costs.scoring += costs.clock.lap();

  // 4. Update: epochs of shuffled minibatches, each split between the ranks; only LoRA and the
  // critic change.
  const LearningRates rates = learning_rates(state_.step);
  if (setup_.async.max_staleness > 0) sample_ahead(costs);
  const Metrics updated = update_policy(experience, rates);
  costs.update = costs.clock.lap();

  // 5. Advance the clockwork: the data cursor and the price of KL.
  advance(experience, costs);
  for (const SampleRecord& sample : train_samples(experience, prompts_, roles_.reward->labels(),
                                                  state_.step, setup_.run.samples_per_step)) {
    log.sample(sample);
  }

  // 6. Report.
  metrics.insert(metrics.end(), updated.begin(), updated.end());
  metrics.emplace_back("lr", rates.policy);
  if (task_.critic) metrics.emplace_back("critic/lr", rates.critic);
  metrics.emplace_back("episode", static_cast<double>(state_.episodes));
  report(costs, experience, epochs_done(updated, task_.rules), metrics);
  return metrics;
}

Metrics PolicyLoop::update_policy(Experience& experience, const LearningRates& rates) {
  console_.phase("updating");
  UpdateRules rules = task_.rules;
  if (task_.kl_in_loss) rules.surrogate.kl_coef = state_.kl_coef;
  rules.policy_stands_still = task_.critic && state_.step < task_.critic->warmup_iterations;
  return lanes_[Role::actor]
      .run("update",
           [&] {
             return explaining_memory(
                 "updating", [this] { return memory_uses(roles_); }, lower(PolicyPhase::update),
                 [&] {
                   return update(experience, state_.step + 1, rates, rules,
                                 {roles_, optimizers_, communicator_});
                 });
           })
      .get();
}

void PolicyLoop::advance(const Experience& experience, const Costs& costs) {
  ++state_.step;
  state_.prompts_consumed += costs.prompts;
  state_.episodes += costs.prompts * task_.group_size;
  follow(roles_.reference, roles_.policy, state_.step);
  if (!task_.kl_target) return;
  AdaptiveKl adaptive{
      .coefficient = state_.kl_coef, .target = *task_.kl_target, .horizon = task_.kl_horizon};
  const double kl =
      experience.kl.mul(experience.mask).sum(at::IntArrayRef{1}).mean().item<double>();
  adaptive.update(kl, config_.batch_size);
  state_.kl_coef = adaptive.coefficient;
}

void PolicyLoop::report(const Costs& costs, const Experience& experience, double epochs,
                        Metrics& metrics) const {
  const double seconds = costs.sampling + costs.scoring + costs.update;
  const double tokens = experience.mask.sum().item<double>();
  const auto sampled = static_cast<double>(costs.tokens);
  if (task_.max_num_gen_batches > 1) {
    metrics.emplace_back("sampling/num_gen_batches", static_cast<double>(costs.rounds));
    metrics.emplace_back(
        "sampling/groups_left_out",
        static_cast<double>(costs.prompts - config_.batch_size / task_.group_size));
  }
  for (const auto& [name, value] :
       Metrics{{"perf/seconds", seconds},
               {"perf/seconds_sampling", costs.sampling},
               {"perf/seconds_scoring", costs.scoring},
               {"perf/seconds_update", costs.update},
               {"perf/sampling_tokens_per_second", sampled / costs.sampling},
               {"perf/scoring_tokens_per_second", sampled / costs.scoring},
               {"perf/update_tokens_per_second", tokens * epochs / costs.update},
               {"perf/eps", static_cast<double>(experience.batch()) / seconds}}) {
    metrics.emplace_back(name, value);
  }
  add_memory(metrics);
  if (communicator_.gathers() != nullptr) {
    metrics.emplace_back("perf/gathered_mb",
                         gathered_megabytes(communicator_) - costs.gathered_before);
  }
}

// Settings to lower where a phase runs out of memory.
std::function<std::vector<std::string>()> PolicyLoop::lower(PolicyPhase phase) const {
  return [this, phase] {
    const std::string rows =
        fmt::format("{}.micro_batch_tokens ({})", task_.section, config_.micro_batch_tokens);
    return settings_to_lower(setup_, rows, phase);
  };
}

void PolicyLoop::evaluate_and_log(RunLog& log, Metrics& metrics) {
  console_.phase("evaluating");
  const auto evaluations = explaining_memory(
      "evaluating", [this] { return memory_uses(roles_); }, lower(PolicyPhase::sampling),
      [&] {
        return evaluate(setup_, config_, roles_, held_out_, lanes_, communicator_, state_.step);
      });
  if (communicator_.leads()) write_evaluation(folder_.path(), state_.step, evaluations);
  for (const Evaluation& evaluation : evaluations) {
    for (const auto& metric : evaluation.metrics()) metrics.push_back(metric);
    for (const EvaluatedAnswer& answer : evaluation.answers) {
      log.sample({.step = state_.step,
                  .index = answer.prompt,
                  .decoding = evaluation.decoding,
                  .prompt = held_out_[answer.prompt].display,
                  .answer = answer.text,
                  .score = answer.reward,
                  .kl = answer.kl,
                  .stop = answer.stop});
    }
    if (evaluation.decoding == "sampled")
      consider(evaluation, state_.step, config_.best_max_kl, state_);
  }
}

Snapshot PolicyLoop::save() {
  console_.phase("saving");
  require_equal_parameters(communicator_, trained_parameters(roles_),
                           fmt::format("after step {}", state_.step));
  return communicator_.leads() ? write_snapshot() : snapshot_of(folder_.path(), state_.step);
}

Snapshot PolicyLoop::write_snapshot() {
  console_.phase("saving");
  SnapshotWriter writer(folder_.path(), state_.step);
  write_policy_snapshot(writer.folder(), state_, roles_, optimizers_);
  if (behind_) write_safetensors(writer.folder() / kSamplerFile, behind_->named_tensors());
  return writer.commit();
}

// The last policy; another one that is exported was evaluated.
Metrics PolicyLoop::probe() {
  if (exported_step() == state_.step) {
    require_usable(*roles_.decoder, roles_.policy, communicator_.gathers().get(), state_.step);
  }
  snapshots_.proven(state_.best_step);
  return {};
}

// The best policy (the last one where none is known) as `adapter/`, in PEFT's format.
void PolicyLoop::export_adapter() {
  const int64_t best = exported_step();
  Adapter policy = roles_.policy;
  if (best != state_.step) {
    policy = load_adapter(snapshot_of(folder_.path(), best).path, roles_.decoder->modules());
  }
  save_adapter(folder_.path() / "adapter", policy, roles_.checkpoint.path.string(),
               base_metadata(roles_.decoder->identity()));
}

// The critic of the same step as `critic/`, where a later run's may start.
void PolicyLoop::export_critic() {
  if (!roles_.critic) return;
  const int64_t best = exported_step();
  if (best != state_.step) {
    const auto file = snapshot_of(folder_.path(), best).path / "critic.safetensors";
    copy_into(critic_tensors(*roles_.critic), read_safetensors(file), file.string());
  }
  save_critic(folder_.path() / "critic", *roles_.critic, roles_.critic->decoder->identity().path);
}

std::string PolicyLoop::compare_with_start() const {
  // A run that was resumed with held-out prompts that it did not have before has no start.
  if (!has_evaluation(folder_.path(), 0)) return "";
  const int64_t last = state_.best_step.value_or(num_steps());
  int64_t choices = 0;
  for (int64_t step = 1; step <= num_steps(); ++step) choices += evaluates_after(step) ? 1 : 0;
  const std::string chosen =
      choices > 1 ? fmt::format(" of {} evaluations on these prompts, which flatters it", choices)
                  : "";
  const std::string why = state_.best_step && !config_.best_max_kl ? "best held-out reward" + chosen
                          : state_.best_step ? "best held-out reward within the KL bound" + chosen
                          : config_.best_max_kl
                              ? "the last: none was within " + task_.section + ".best_max_kl"
                              : "the last";
  return fmt::format("step {} ({}) against the start\n", last, why) +
         comparison_table(read_evaluation(folder_.path(), 0), read_evaluation(folder_.path(), last),
                          held_out_,
                          /*num_samples=*/3);
}

// Those done, perhaps with another batch_size, and what the episodes left make.
int64_t PolicyLoop::num_steps() const {
  const int64_t size = config_.batch_size;
  const int64_t left = std::max<int64_t>(config_.total_episodes - state_.episodes, 0);
  return state_.step + left / size + (left % size > 0 ? 1 : 0);
}

bool PolicyLoop::evaluates_after(int64_t step) const {
  if (held_out_.empty()) return false;
  return step == num_steps() || (config_.eval_steps > 0 && step % config_.eval_steps == 0);
}

// One rate per iteration, as TRL: its scheduler steps once per batch of episodes.
LearningRates PolicyLoop::learning_rates(int64_t step) const {
  ScheduleConfig schedule{.type = config_.lr_scheduler_type,
                          .learning_rate = config_.learning_rate,
                          .warmup_steps = config_.warmup_steps,
                          .warmup_ratio = config_.warmup_ratio,
                          .total_steps = num_steps()};
  LearningRates rates{.policy = learning_rate_at(schedule, step)};
  if (task_.critic) {
    schedule.type = task_.critic->lr_scheduler_type;
    schedule.learning_rate = task_.critic->learning_rate;
    if (task_.critic->warmup_steps) {
      schedule.warmup_steps = *task_.critic->warmup_steps;
      schedule.warmup_ratio = 0;
    }
    rates.critic = learning_rate_at(schedule, step);
  }
  return rates;
}

}  // namespace leash

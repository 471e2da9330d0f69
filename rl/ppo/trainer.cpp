#include "rl/ppo/trainer.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/errors.h"
#include "models/lora/base_identity.h"
#include "models/lora/peft_adapter.h"
#include "rl/distributed/data_parallel.h"
#include "rl/optim/finite.h"
#include "rl/optim/schedule.h"
#include "rl/policy/experience.h"
#include "rl/policy/judging.h"
#include "rl/policy/memory.h"
#include "rl/ppo/best.h"
#include "rl/ppo/critic.h"
#include "rl/ppo/shape.h"
#include "rl/run/memory_usage.h"
#include "rl/run/run_log.h"
#include "rl/training/probe.h"

namespace leash {
namespace {

// Each rank's own, so that they can be laid side by side.
std::optional<std::filesystem::path> timeline_file(const PpoSetup& setup, const RunFolder& folder,
                                                   const Communicator& communicator) {
  if (!setup.lanes.timeline) return std::nullopt;
  return folder.path() / (communicator.leads()
                              ? "timeline.json"
                              : fmt::format("timeline-rank-{}.json", communicator.rank()));
}

// Roles that gather block by block take turns: side by side they would ask for different blocks.
LanesConfig lanes_of(const PpoSetup& setup) {
  LanesConfig lanes = setup.lanes;
  if (setup.run.fsdp == Fsdp::full_shard && !setup.run.gather_for_generation) {
    lanes.concurrent = false;
  }
  return lanes;
}

std::string pass_size(const PpoSetup& setup) {
  return fmt::format("ppo.micro_batch_tokens ({})", setup.ppo.micro_batch_tokens);
}

// ppo.target_kl may have ended the update early.
double epochs_done(const Metrics& updated, const PpoConfig& ppo) {
  const auto found = std::ranges::find(updated, "policy/num_epochs", &Metrics::value_type::first);
  return found == updated.end() ? static_cast<double>(ppo.num_ppo_epochs) : found->second;
}

}  // namespace

PpoTrainer::PpoTrainer(PpoSetup setup, const RunContext& context)
    : setup_(std::move(setup)),
      folder_(context.folder),
      communicator_(context.communicator),
      console_(context.console),
      roles_(load_ppo_roles(setup_, sharded_base(setup_.run, communicator_))),
      optimizers_(setup_.ppo, roles_),
      lanes_(lanes_of(setup_), timeline_file(setup_, folder_, communicator_), communicator_.rank(),
             setup_.devices.streams()),
      prompts_(read_policy_prompts(setup_.data.train, setup_, roles_)),
      state_({.kl_coef = setup_.ppo.kl_coef}),
      snapshots_(folder_, setup_.run.save_total_limit, communicator_.leads()) {
  if (setup_.data.eval) held_out_ = read_policy_prompts(*setup_.data.eval, setup_, roles_);
  if (folder_.snapshot()) {
    state_ = read_policy_snapshot(folder_.snapshot()->path, roles_, optimizers_,
                                  context.allow_inexact, console_);
    if (!setup_.ppo.kl_target) {
      state_.kl_coef = setup_.ppo.kl_coef;  // may have been changed
    } else {
      console_.message(
          fmt::format("the adaptive kl_coef goes on from the snapshot: {:.4g}", state_.kl_coef));
    }
    choose_best_again(folder_.path(), setup_.ppo.best_max_kl, state_, console_);
    require_best_snapshot(folder_.path(), state_.best_step, state_.step);
  }
  require_equal_parameters(communicator_, trained_parameters(roles_), "before the first step");
  communicator_.show_in(lanes_.timeline());
  for (const std::string& warning : roles_.reward->warnings()) {
    console_.message("warning: " + warning);
  }
  console_.message(trainable_parameters_line(roles_.policy, roles_.decoder->num_parameters()));
}

RunOutcome PpoTrainer::train(const std::function<bool()>& interrupted) {
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
      Metrics measured = iterate();
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
  if (finished && communicator_.leads()) export_adapter();
  return {.end = finished ? RunEnd::finished : RunEnd::interrupted,
          .step = state_.step,
          .last_snapshot = snapshots_.newest(),
          .best_step = state_.best_step,
          .exported_step = finished ? std::optional(exported_step()) : std::nullopt,
          .comparison =
              finished && communicator_.leads() && !held_out_.empty() ? compare_with_start() : ""};
}

// One PPO iteration (Schulman et al. 2017, algorithm 1, for language models as in Ziegler et al.
// 2019).
Metrics PpoTrainer::iterate() {
  const int64_t step = state_.step + 1;
  PhaseClock clock;
  const double gathered_before = gathered_megabytes(communicator_);

  // 1. Sample: the next prompts, split between the ranks, answered by the policy. A shared critic
  // reads its values from the same states.
  console_.phase("sampling");
  const auto uses = [this] { return memory_uses(roles_); };
  const auto lower = [this](PolicyPhase phase) {
    return [this, phase] { return settings_to_lower(setup_, pass_size(setup_), phase); };
  };
  const PromptOrder order(static_cast<int64_t>(prompts_.size()), setup_.data.shuffle,
                          static_cast<uint64_t>(setup_.run.seed));
  const std::vector<int64_t> rows = order.next(state_.prompts_consumed, setup_.ppo.batch_size);
  std::vector<Prompt> batch;
  for (size_t i = 0; i < rows.size(); ++i) {
    batch.push_back({.ids = prompts_[rows[i]].ids, .sample = static_cast<uint64_t>(i)});
  }
  batch = own_prompts(batch, setup_.rollout.response_length, communicator_);
  const RolloutEngine engine(roles_.decoder, roles_.tokenizer);
  const GenerationConfig generation = generation_config(setup_, roles_, step);
  GatherScope scope(communicator_.gathers().get(), kept_without_gradients(setup_.run));
  Judging judging(prompts_, rows, setup_, setup_.ppo, roles_, lanes_);
  RolloutEngine::Callbacks callbacks;
  callbacks.on_finished = [&judging](const Completion& answer) { judging.add(answer); };
  lanes_[Role::actor]
      .run("sample",
           [&] {
             const auto sampling_uses = [&] { return memory_uses(roles_, setup_, batch); };
             explaining_memory("sampling", sampling_uses, lower(PolicyPhase::sampling), [&] {
               return engine.generate(batch, &roles_.policy, generation, roles_.value_head(),
                                      callbacks);
             });
           })
      .get();
  const double sampling_seconds = clock.lap();

  // 2. Judge: reference log-probs, critic values and scores, each on its own lane, begun above
  // where answers are judged in groups. From here on every rank knows the whole batch.
  console_.phase("scoring");
  const auto judged = explaining_memory("scoring", uses, lower(PolicyPhase::scoring),
                                        [&] { return judging.finish(); });
  scope.finish();
  Experience experience = assemble(gather(communicator_, judged), setup_.ppo.missing_eos_penalty);
  if (all_finite({experience.logprobs, experience.values})) snapshots_.proven(state_.best_step);

  // 3. Shape: KL-penalised rewards, advantages, returns.
  shape(experience, setup_.ppo, state_.kl_coef);
  Metrics metrics = experience_metrics(experience, state_.kl_coef);
  const double scoring_seconds = clock.lap();

  // 4. Update: epochs of shuffled minibatches, each split between the ranks; only LoRA and the
  // critic change.
  console_.phase("updating");
  const LearningRates rates = learning_rates(state_.step);
  const Metrics updated =
      lanes_[Role::actor]
          .run("update",
               [&] {
                 return explaining_memory("updating", uses, lower(PolicyPhase::update), [&] {
                   return update(experience, step, rates,
                                 {setup_, roles_, optimizers_, communicator_});
                 });
               })
          .get();
  const double update_seconds = clock.lap();

  // 5. Advance the clockwork: the data cursor and the price of KL.
  state_.step = step;
  state_.prompts_consumed += setup_.ppo.batch_size;
  if (setup_.ppo.kl_target) {
    AdaptiveKl adaptive{.coefficient = state_.kl_coef,
                        .target = *setup_.ppo.kl_target,
                        .horizon = kl_horizon_of(setup_.ppo)};
    const double kl =
        experience.kl.mul(experience.mask).sum(at::IntArrayRef{1}).mean().item<double>();
    adaptive.update(kl, setup_.ppo.batch_size);
    state_.kl_coef = adaptive.coefficient;
  }

  // 6. Report.
  metrics.insert(metrics.end(), updated.begin(), updated.end());
  const double seconds = sampling_seconds + scoring_seconds + update_seconds;
  const double tokens = experience.mask.sum().item<double>();
  for (const auto& [name, value] :
       Metrics{{"lr", rates.policy},
               {"critic/lr", rates.critic},
               {"episode", static_cast<double>(state_.prompts_consumed)},
               {"perf/seconds", seconds},
               {"perf/seconds_sampling", sampling_seconds},
               {"perf/seconds_scoring", scoring_seconds},
               {"perf/seconds_update", update_seconds},
               {"perf/sampling_tokens_per_second", tokens / sampling_seconds},
               {"perf/scoring_tokens_per_second", tokens / scoring_seconds},
               {"perf/update_tokens_per_second",
                tokens * epochs_done(updated, setup_.ppo) / update_seconds},
               {"perf/eps", static_cast<double>(experience.batch()) / seconds}}) {
    metrics.emplace_back(name, value);
  }
  add_memory(metrics);
  if (communicator_.gathers() != nullptr) {
    metrics.emplace_back("perf/gathered_mb", gathered_megabytes(communicator_) - gathered_before);
  }
  return metrics;
}

void PpoTrainer::evaluate_and_log(RunLog& log, Metrics& metrics) {
  console_.phase("evaluating");
  const auto evaluations = explaining_memory(
      "evaluating", [this] { return memory_uses(roles_); },
      [this] { return settings_to_lower(setup_, pass_size(setup_), PolicyPhase::sampling); },
      [&] { return evaluate(setup_, setup_.ppo, roles_, held_out_, lanes_, communicator_); });
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
      consider(evaluation, state_.step, setup_.ppo.best_max_kl, state_);
  }
}

Snapshot PpoTrainer::save() {
  console_.phase("saving");
  require_equal_parameters(communicator_, trained_parameters(roles_),
                           fmt::format("after step {}", state_.step));
  if (!communicator_.leads()) return snapshot_of(folder_.path(), state_.step);
  SnapshotWriter writer(folder_.path(), state_.step);
  write_policy_snapshot(writer.folder(), state_, roles_, optimizers_);
  return writer.commit();
}

// The last policy; another one that is exported was evaluated.
Metrics PpoTrainer::probe() {
  if (exported_step() == state_.step) {
    require_usable(*roles_.decoder, roles_.policy, communicator_.gathers().get(), state_.step);
  }
  snapshots_.proven(state_.best_step);
  return {};
}

// The best policy (the last one where none is known) as `adapter/`, in PEFT's format.
void PpoTrainer::export_adapter() {
  const int64_t best = exported_step();
  Adapter policy = roles_.policy;
  if (best != state_.step) {
    policy = load_adapter(snapshot_of(folder_.path(), best).path, roles_.decoder->modules());
  }
  save_adapter(folder_.path() / "adapter", policy, roles_.checkpoint.path.string(),
               base_metadata(roles_.decoder->identity()));
}

std::string PpoTrainer::compare_with_start() const {
  // A run that was resumed with held-out prompts that it did not have before has no start.
  if (!has_evaluation(folder_.path(), 0)) return "";
  const int64_t last = state_.best_step.value_or(num_steps());
  int64_t choices = 0;
  for (int64_t step = 1; step <= num_steps(); ++step) choices += evaluates_after(step) ? 1 : 0;
  const std::string chosen =
      choices > 1 ? fmt::format(" of {} evaluations on these prompts, which flatters it", choices)
                  : "";
  const std::string why = state_.best_step && !setup_.ppo.best_max_kl
                              ? "best held-out reward" + chosen
                          : state_.best_step ? "best held-out reward within the KL bound" + chosen
                          : setup_.ppo.best_max_kl ? "the last: none was within ppo.best_max_kl"
                                                   : "the last";
  return fmt::format("step {} ({}) against the start\n", last, why) +
         comparison_table(read_evaluation(folder_.path(), 0), read_evaluation(folder_.path(), last),
                          held_out_,
                          /*num_samples=*/3);
}

// Those done, perhaps with another batch_size, and what the episodes left make.
int64_t PpoTrainer::num_steps() const {
  const int64_t size = setup_.ppo.batch_size;
  const int64_t left = std::max<int64_t>(setup_.ppo.total_episodes - state_.prompts_consumed, 0);
  return state_.step + left / size + (left % size > 0 ? 1 : 0);
}

bool PpoTrainer::evaluates_after(int64_t step) const {
  if (held_out_.empty()) return false;
  return step == num_steps() || (setup_.ppo.eval_steps > 0 && step % setup_.ppo.eval_steps == 0);
}

// One rate per iteration, as TRL: its scheduler steps once per batch of episodes.
LearningRates PpoTrainer::learning_rates(int64_t step) const {
  ScheduleConfig schedule{.type = setup_.ppo.lr_scheduler_type,
                          .learning_rate = setup_.ppo.learning_rate,
                          .warmup_steps = setup_.ppo.warmup_steps,
                          .warmup_ratio = setup_.ppo.warmup_ratio,
                          .total_steps = num_steps()};
  LearningRates rates{.policy = learning_rate_at(schedule, step)};
  schedule.learning_rate = learning_rate_of(setup_.critic);
  rates.critic = learning_rate_at(schedule, step);
  return rates;
}

}  // namespace leash

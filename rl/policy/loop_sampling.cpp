// Steps 1 and 2 of an iteration: prompts, answers, and what every role says about them.
#include <functional>
#include <optional>
#include <utility>

#include "models/weights/gather_queue.h"
#include "rl/policy/dynamic_sampling.h"
#include "rl/policy/experience.h"
#include "rl/policy/loop.h"
#include "rl/reward/source.h"
#include "rl/run/memory_usage.h"
#include "rl/training/parts.h"

namespace leash {

// Steps 1 and 2, again for other prompts while groups without signal are to be replaced. From here
// on every rank knows the whole batch.
std::vector<JudgedAnswer> PolicyLoop::sample_and_judge(Costs& costs, RunLog& log) {
  const int64_t wanted = config_.batch_size / task_.group_size;
  std::vector<int64_t> rows;  // the prompt of each answer that was asked for
  std::vector<JudgedAnswer> all;
  for (int64_t missing = wanted; missing > 0 && costs.rounds < task_.max_num_gen_batches;
       missing = wanted - num_groups_with_signal(all, task_.group_size)) {
    const size_t begin = rows.size();
    const auto next = next_rows(costs.prompts, missing);
    rows.insert(rows.end(), next.begin(), next.end());
    costs.prompts += missing;
    ++costs.rounds;
    for (JudgedAnswer& judged :
         judged_by_all([&] { return sample_round(rows, begin, costs); }, log)) {
      judged.prompt = rows[judged.answer.sample];
      costs.tokens += std::ssize(judged.answer.token_ids);
      all.push_back(std::move(judged));
    }
    if (task_.max_num_gen_batches == 1) return all;
  }
  return choose_groups(std::move(all), task_.group_size, wanted);
}

// Sampling and judging changed nothing of the run: where a source of reward fails it can go on from
// here, with as many steps done as are logged.
void PolicyLoop::save_before_failing(RunLog& log) {
  if (!communicator_.leads() || state_.step == 0) return;
  if (snapshots_.newest() && snapshots_.newest()->step == state_.step) return;
  log.sync();
  snapshots_.written(write_snapshot());  // other ranks take no part
}

// Every rank's answers, judged. Where a source failed on any rank, a snapshot, then the error. With
// sharded weights other ranks may wait in a gather for the one that failed, which alone ends.
std::vector<JudgedAnswer> PolicyLoop::judged_by_all(
    const std::function<std::vector<JudgedAnswer>()>& judge, RunLog& log) {
  std::vector<JudgedAnswer> own;
  std::optional<RewardFailure> failure;
  try {
    own = judge();
  } catch (const RewardFailure& error) {
    failure = error;
  }
  const bool asks = communicator_.gathers() == nullptr;
  const bool failed = asks ? any_rank(communicator_, failure.has_value()) : failure.has_value();
  if (failed) save_before_failing(log);
  if (failure) throw *failure;
  if (failed) throw RewardFailure("a source of reward failed in another process");
  return gather(communicator_, own);
}

// 1. Sample: the prompts of rows from `begin` on, split between the ranks, answered by the policy.
// A shared critic reads its values from the same states.
// 2. Judge: reference log-probs, critic values and scores, each on its own lane, begun while others
// are sampled where answers are judged in groups.
std::vector<JudgedAnswer> PolicyLoop::sample_round(const std::vector<int64_t>& rows, size_t begin,
                                                   Costs& costs) {
  if (setup_.async.max_staleness > 0) return judge_ahead(rows, costs);
  console_.phase("sampling");
  const std::vector<Prompt> batch = own_batch(rows, begin);
  const RolloutEngine engine(roles_.decoder, roles_.tokenizer);
  const GenerationConfig generation = generation_config(setup_, roles_, state_.step + 1);
  GatherScope scope(communicator_.gathers().get(), kept_without_gradients(setup_.run));
  Judging judging(prompts_, rows, setup_, config_, roles_, lanes_, judging_options());
  RolloutEngine::Callbacks callbacks;
  callbacks.on_finished = [&judging](const Completion& answer) { judging.add(answer); };
  lanes_[Role::actor]
      .run("sample",
           [&] {
             const auto uses = [&] { return memory_uses(roles_, setup_, batch); };
             explaining_memory("sampling", uses, lower(PolicyPhase::sampling), [&] {
               return engine.generate(batch, &roles_.policy, generation, roles_.value_head(),
                                      callbacks);
             });
           })
      .get();
  costs.sampling += costs.clock.lap();

  console_.phase("scoring");
  auto judged = explaining_memory(
      "scoring", [this] { return memory_uses(roles_); }, lower(PolicyPhase::scoring),
      [&] { return judging.finish(); });
  scope.finish();
  costs.scoring += costs.clock.lap();
  return judged;
}

// The same where the answers were sampled beside the last update, by the policy before it. In the
// first iteration, or behind a snapshot, they are sampled now, by that same policy.
std::vector<JudgedAnswer> PolicyLoop::judge_ahead(const std::vector<int64_t>& rows, Costs& costs) {
  console_.phase("sampling");
  if (!ahead_) {
    const Adapter& policy = behind_ ? *behind_ : roles_.policy;
    ahead_ = begin_sampling(own_batch(rows, 0), policy, state_.step + 1);
  }
  std::vector<Completion> answers = ahead_->get();
  ahead_.reset();
  costs.sampling += costs.clock.lap();
  console_.phase("scoring");
  Judging judging(prompts_, rows, setup_, config_, roles_, lanes_, judging_options());
  for (Completion& answer : answers) judging.add(std::move(answer));
  auto judged = explaining_memory(
      "scoring", [this] { return memory_uses(roles_); }, lower(PolicyPhase::scoring),
      [&] { return judging.finish(); });
  costs.scoring += costs.clock.lap();
  return judged;
}

// Begins to answer the next iteration's prompts, by the policy as it is before this update.
void PolicyLoop::sample_ahead(const Costs& costs) {
  behind_ = roles_.policy.clone();
  behind_->set_trainable(false);
  if (state_.step + 1 >= num_steps()) return;
  const auto rows = next_rows(costs.prompts, config_.batch_size / task_.group_size);
  ahead_ = begin_sampling(own_batch(rows, 0), *behind_, state_.step + 2);
}

// `policy` outlives the result. Values are those of the states that are judged: no head.
LaneResult<std::vector<Completion>> PolicyLoop::begin_sampling(std::vector<Prompt> batch,
                                                               const Adapter& policy,
                                                               int64_t step) {
  if (!ahead_lanes_) {
    LanesConfig lanes = lanes_of(setup_);
    lanes.concurrent = false;  // one worker
    ahead_lanes_ = std::make_unique<Lanes>(lanes);
  }
  return (*ahead_lanes_)[Role::actor].run(
      "sample ahead", [this, batch = std::move(batch), &policy,
                       generation = generation_config(setup_, roles_, step)] {
        return RolloutEngine(roles_.decoder, roles_.tokenizer).generate(batch, &policy, generation);
      });
}

JudgingOptions PolicyLoop::judging_options() const {
  JudgingOptions options = task_.judging;
  options.step = state_.step + 1;
  return options;
}

// This rank's prompts of the rows from `begin` on.
std::vector<Prompt> PolicyLoop::own_batch(const std::vector<int64_t>& rows, size_t begin) const {
  std::vector<Prompt> batch;
  for (size_t i = begin; i < rows.size(); ++i) {
    batch.push_back({.ids = prompts_[rows[i]].ids, .sample = static_cast<uint64_t>(i)});
  }
  return own_prompts(batch, setup_.rollout.response_length, communicator_, task_.group_size);
}

// The prompt of each row: a prompt stands once for each of its answers.
std::vector<int64_t> PolicyLoop::next_rows(int64_t asked, int64_t groups) const {
  const PromptOrder order(static_cast<int64_t>(prompts_.size()), setup_.data.shuffle,
                          static_cast<uint64_t>(setup_.run.seed));
  std::vector<int64_t> rows;
  for (const int64_t prompt : order.next(state_.prompts_consumed + asked, groups)) {
    rows.insert(rows.end(), static_cast<size_t>(task_.group_size), prompt);
  }
  return rows;
}

}  // namespace leash

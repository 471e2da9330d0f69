// The loop over sampled answers: sample, judge, shape, update, evaluate, save, export, resume. PPO
// and its relatives differ in the values that they hand in.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rl/data/prompts.h"
#include "rl/distributed/communicator.h"
#include "rl/policy/evaluation.h"
#include "rl/policy/judging.h"
#include "rl/policy/memory.h"
#include "rl/policy/roles.h"
#include "rl/policy/snapshot.h"
#include "rl/policy/update.h"
#include "rl/run/console.h"
#include "rl/run/good_snapshots.h"
#include "rl/run/run_context.h"
#include "rl/run/run_parts.h"

namespace leash {

// What a task says to the loop.
struct PolicyTask {
  std::string section;              // its name and that of its section ("ppo")
  int64_t group_size = 1;           // answers per prompt
  int64_t max_num_gen_batches = 1;  // rounds of sampling, where groups without signal are replaced
  UpdateRules rules = {};
  JudgingOptions judging = {};
  std::string kl_coef_key = "kl_coef";
  double kl_coef = 0;                    // the price of a nat of KL at the start
  bool kl_in_loss = false;               // it is paid by token in the loss, not in the reward
  std::optional<double> kl_target = {};  // adapt it towards this KL per answer
  double kl_horizon = 1;                 // episodes
  std::optional<CriticTraining> critic = {};
  // Step 3: advantages (and what else the update reads) from the judgements.
  std::function<void(Experience& experience, double kl_coef)> shape = {};
  // What the answers tell, under the task's names.
  std::function<Metrics(const Experience& experience, double kl_coef)> metrics = {};
};

// The lanes of a recipe. Roles that gather block by block take turns: side by side they would ask
// for different blocks.
LanesConfig lanes_of(const PolicySetup& setup);

class PolicyLoop {
 public:
  // `setup` and `config` outlive the loop. Goes on from the folder's snapshot where it has one.
  // ConfigError, FormatError.
  PolicyLoop(const PolicySetup& setup, const PolicyConfig& config, PolicyTask task,
             PolicyRoles roles, const RunContext& context);
  PolicyLoop(const PolicyLoop&) = delete;
  PolicyLoop& operator=(const PolicyLoop&) = delete;

  // Runs until done or interrupted (on any rank; asked between steps). Throws NonFinite after
  // naming the last good snapshot.
  RunOutcome train(const std::function<bool()>& interrupted);

 private:
  // Seconds and bytes of one iteration's phases.
  struct Costs {
    PhaseClock clock = {};
    double gathered_before = 0;
    double sampling = 0, scoring = 0, update = 0;  // seconds
    int64_t prompts = 0, rounds = 0;               // asked, and in how many rounds of sampling
    int64_t tokens = 0;                            // sampled
  };

  void begin_rewards();
  void save_before_failing(class RunLog& log);
  Metrics iterate(RunLog& log);
  std::vector<JudgedAnswer> sample_and_judge(Costs& costs, RunLog& log);
  std::vector<JudgedAnswer> judged_by_all(const std::function<std::vector<JudgedAnswer>()>& judge,
                                          RunLog& log);
  std::vector<JudgedAnswer> sample_round(const std::vector<int64_t>& rows, size_t begin,
                                         Costs& costs);
  std::vector<JudgedAnswer> judge_ahead(const std::vector<int64_t>& rows, Costs& costs);
  void sample_ahead(const Costs& costs);
  JudgingOptions judging_options() const;
  std::vector<Prompt> own_batch(const std::vector<int64_t>& rows, size_t begin) const;
  LaneResult<std::vector<Completion>> begin_sampling(std::vector<Prompt> batch,
                                                     const Adapter& policy, int64_t step);
  std::vector<int64_t> next_rows(int64_t asked, int64_t groups) const;
  Metrics update_policy(Experience& experience, const LearningRates& rates);
  void advance(const Experience& experience, const Costs& costs);
  void report(const Costs& costs, const Experience& experience, double epochs,
              Metrics& metrics) const;
  std::function<std::vector<std::string>()> lower(PolicyPhase phase) const;
  Metrics probe();
  void evaluate_and_log(RunLog& log, Metrics& metrics);
  Snapshot save();            // all ranks together
  Snapshot write_snapshot();  // the leader alone
  void export_adapter();
  void export_critic();
  std::string compare_with_start() const;

  int64_t num_steps() const;
  int64_t exported_step() const { return state_.best_step.value_or(state_.step); }
  bool evaluates_after(int64_t step) const;
  LearningRates learning_rates(int64_t step) const;

  const PolicySetup& setup_;
  const PolicyConfig& config_;
  const PolicyTask task_;
  RunFolder& folder_;
  Communicator& communicator_;
  Console& console_;
  PolicyRoles roles_;
  PolicyOptimizers optimizers_;
  Lanes lanes_;
  std::vector<PromptRecord> prompts_;
  std::vector<PromptRecord> held_out_;
  PolicyState state_;
  GoodSnapshots snapshots_;
  // With async: the policy before the last update, which samples the next batch; its answers; and
  // the lane that they come from, which ends before what it reads.
  std::optional<Adapter> behind_;
  std::optional<LaneResult<std::vector<Completion>>> ahead_;
  std::unique_ptr<Lanes> ahead_lanes_;
};

}  // namespace leash

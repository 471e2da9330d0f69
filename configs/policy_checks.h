// Rules that the tasks over sampled answers have in common. `section` is the task's own ("ppo").
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "configs/checker.h"
#include "rl/policy/config.h"
#include "rl/policy/kl.h"

namespace leash {

// A task over sampled answers, as its rules see it.
struct PolicyRecipe {
  const PolicySetup& setup;
  const PolicyConfig& config;
  std::string section;      // "ppo"
  std::string name;         // "PPO", for messages
  std::string kl_coef_key;  // what kl_target adapts
  double kl_coef = 0;
  std::optional<double> kl_target = {}, kl_horizon = {};

  std::string key(const std::string& name) const { return section + "." + name; }
};

void check_model_and_lora(const PolicyRecipe& recipe, Checker& check);
void check_reference(const PolicySetup& setup, Checker& check);
// A reference that follows. `asked`: whether the policy is held to it while it trains.
void check_following(const PolicyRecipe& recipe, bool asked, Checker& check);
// Corrections for what sampling and training differ by.
void check_corrections(const PolicyRecipe& recipe, Checker& check);
// Sampling beside training.
void check_async(const PolicyRecipe& recipe, int64_t max_num_gen_batches, Checker& check);
// Dual clip: `epsilon_high` is the other bound in effect.
void check_dual_clip(const PolicyRecipe& recipe, const std::optional<double>& delta,
                     double epsilon_high, Checker& check);
void check_sizes(const PolicyRecipe& recipe, Checker& check);
void check_schedule(const PolicyRecipe& recipe, Checker& check);
// `kl_horizon` is the one in effect.
void check_kl_target(const PolicyRecipe& recipe, double kl_horizon, Checker& check);
void check_policy_data(const PolicyRecipe& recipe, Checker& check);
// `own_critic`: whether a critic could be elsewhere; `why_not` says why not.
void check_policy_devices(const PolicySetup& setup, bool own_critic, const std::string& why_not,
                          Checker& check);
void check_run_and_rewards(const PolicyRecipe& recipe, const Written& written, Checker& check,
                           Problems& problems);

// About dropout; and about how answers are drawn and counted.
std::vector<std::string> kl_warnings(const PolicyRecipe& recipe, KlEstimator estimator,
                                     KlPlace place);
std::vector<std::string> policy_warnings(const PolicyRecipe& recipe, const Written& written);
std::vector<std::string> sampling_warnings(const PolicyRecipe& recipe);

}  // namespace leash

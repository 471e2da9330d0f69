// The rules of `task: ppo`.
#include <fmt/format.h>

#include <algorithm>

#include "configs/checks.h"
#include "configs/policy_checks.h"

namespace leash {
namespace {

PolicyRecipe recipe_of(const PpoSetup& setup) {
  return {.setup = setup,
          .config = setup.ppo,
          .section = "ppo",
          .name = "PPO",
          .kl_coef_key = "kl_coef",
          .kl_coef = setup.ppo.kl_coef,
          .kl_target = setup.ppo.kl_target,
          .kl_horizon = setup.ppo.kl_horizon};
}

void check_critic(const CriticConfig& critic, Checker& check) {
  check.require(
      critic.kind != CriticKind::none, "critic.kind",
      "none leaves ppo without values to estimate advantages with; take shared, adapter or "
      "separate");
  check.no_effect_unless(critic.kind == CriticKind::separate, "critic.path",
                         "without critic.kind: separate");
  check.no_effect_unless(critic.kind == CriticKind::separate, "critic.train",
                         "without critic.kind: separate");
  check.no_effect_unless(critic.kind == CriticKind::shared, "critic.backprop_to_policy",
                         "without critic.kind: shared");
}

void check_critic_training(const PpoSetup& setup, Checker& check) {
  const CriticConfig& critic = setup.critic;
  check.require(critic.optim != OptimizerKind::sgd && critic.optim != OptimizerKind::adafactor,
                "critic.optim", "has to be adamw_torch, adamw_8bit or paged_adamw_8bit");
  const SchedulerType schedule = critic.lr_scheduler_type.value_or(setup.ppo.lr_scheduler_type);
  check.no_effect_unless(schedule != SchedulerType::constant, "critic.warmup_steps",
                         "with lr_scheduler_type: constant");
  const bool known = schedule != SchedulerType::warmup_stable_decay &&
                     schedule != SchedulerType::cosine_with_min_lr;
  check.require(
      known || !critic.lr_scheduler_type, "critic.lr_scheduler_type",
      fmt::format("{} needs numbers that only sft.lr_scheduler_kwargs has", enum_name(schedule)));
  const int64_t iterations =
      (setup.ppo.total_episodes + setup.ppo.batch_size - 1) / setup.ppo.batch_size;
  check.require(critic.warmup_iterations == 0 || critic.warmup_iterations < iterations,
                "critic.warmup_iterations",
                fmt::format("leaves none of the {} iterations to the policy", iterations));
}

void check_adaptive_kl(const PpoConfig& ppo, const Written& written, Checker& check) {
  // Until 30 November 2026 target_kl was the target of the adaptive coefficient.
  const bool old_meaning = written.contains("ppo.target_kl") && ppo.target_kl &&
                           written.contains("ppo.kl_horizon") && ppo.kl_horizon && !ppo.kl_target;
  check.require(!old_meaning, "ppo.target_kl",
                "ends an update's epochs early; what kl_coef adapts to with ppo.kl_horizon is "
                "ppo.kl_target");
  if (!old_meaning) {
    check.no_effect_unless(ppo.kl_target.has_value(), "ppo.kl_horizon", "without ppo.kl_target");
  }
}

}  // namespace

void check(const PpoSetup& setup, const Written& written, Problems& problems) {
  Checker checker(written, problems);
  const PolicyRecipe recipe = recipe_of(setup);
  check_model_and_lora(recipe, checker);
  check_reference(setup, checker);
  check_following(recipe, setup.ppo.kl_coef > 0, checker);
  check_corrections(recipe, checker);
  check_async(recipe, /*max_num_gen_batches=*/1, checker);
  check_dual_clip(recipe, setup.ppo.delta, setup.ppo.cliprange_high.value_or(setup.ppo.cliprange),
                  checker);
  check_critic(setup.critic, checker);
  check_critic_training(setup, checker);
  check_rate(learning_rate_of(setup.critic), "critic.learning_rate", checker);
  check_sizes(recipe, checker);
  check_schedule(recipe, checker);
  check_adaptive_kl(setup.ppo, written, checker);
  check_kl_target(recipe, kl_horizon_of(setup.ppo), checker);
  check_policy_data(recipe, checker);
  check_policy_devices(setup, setup.critic.kind != CriticKind::shared,
                       "with critic.kind: shared, which reads the policy's own states", checker);
  check_run_and_rewards(recipe, written, checker, problems);
}

std::vector<std::string> warnings(const PpoSetup& setup, const Written& written) {
  const PolicyRecipe recipe = recipe_of(setup);
  std::vector<std::string> lines = policy_warnings(recipe, written);
  if (written.contains("ppo.vf_coef") && setup.ppo.vf_coef != PpoConfig{}.vf_coef &&
      !setup.critic.backprop_to_policy) {
    lines.emplace_back(
        "ppo.vf_coef: the critic has an optimizer of its own, so this factor changes only what "
        "max_grad_norm clips; critic.learning_rate is what it learns by");
  }
  for (std::string& line : kl_warnings(recipe, setup.ppo.kl_estimator, setup.ppo.kl_in)) {
    lines.push_back(std::move(line));
  }
  for (std::string& line : sampling_warnings(recipe)) lines.push_back(std::move(line));
  return lines;
}

}  // namespace leash

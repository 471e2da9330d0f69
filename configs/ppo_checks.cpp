// The rules of `task: ppo`.
#include <fmt/format.h>

#include <algorithm>

#include "configs/checker.h"
#include "configs/checks.h"
#include "rl/reward/source.h"

namespace leash {
namespace {

void check_reference(const PpoSetup& s, Checker& check) {
  const auto kind = s.reference.kind;
  check.require(kind != ReferenceKind::model || s.reference.path, "reference.kind",
                "model needs reference.path");
  check.require(kind != ReferenceKind::adapter || s.reference.path || s.lora.path, "reference.kind",
                "adapter needs reference.path (or lora.path)");
  check.no_effect_unless(kind == ReferenceKind::model || kind == ReferenceKind::adapter,
                         "reference.path", "without reference.kind: adapter or model");
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

void check_sizes(const PpoSetup& s, Checker& check) {
  check.require(s.ppo.batch_size % s.ppo.num_mini_batches == 0, "ppo.num_mini_batches",
                fmt::format("{} does not divide ppo.batch_size ({})", s.ppo.num_mini_batches,
                            s.ppo.batch_size));
  check.require(
      s.rollout.min_new_tokens <= s.rollout.response_length, "rollout.min_new_tokens",
      fmt::format("is more than rollout.response_length ({})", s.rollout.response_length));
  check.require(s.rollout.stop_token || !s.ppo.missing_eos_penalty || !s.rollout.stop_texts.empty(),
                "ppo.missing_eos_penalty",
                "no answer can end by itself with rollout.stop_token: null");
  for (const std::string& text : s.rollout.stop_texts) {
    check.require(!text.empty(), "rollout.stop_texts", "holds an empty text");
  }
}

void check_schedule(const PpoConfig& ppo, Checker& check) {
  check_rate(ppo.learning_rate, "ppo.learning_rate", check);
  const bool warms_up = ppo.lr_scheduler_type != SchedulerType::constant;
  check.no_effect_unless(warms_up, "ppo.warmup_ratio", "with lr_scheduler_type: constant");
  check.no_effect_unless(warms_up, "ppo.warmup_steps", "with lr_scheduler_type: constant");
  check.no_effect_unless(ppo.warmup_steps == 0, "ppo.warmup_ratio", "beside ppo.warmup_steps");
  const bool known = ppo.lr_scheduler_type != SchedulerType::warmup_stable_decay &&
                     ppo.lr_scheduler_type != SchedulerType::cosine_with_min_lr;
  check.require(known, "ppo.lr_scheduler_type",
                fmt::format("{} needs numbers that only sft.lr_scheduler_kwargs has",
                            enum_name(ppo.lr_scheduler_type)));
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
  check.require(!ppo.kl_target || ppo.kl_coef > 0, "ppo.kl_target",
                "kl_coef: 0 stays 0 whatever it is multiplied with; begin above 0");
  check.require(!ppo.kl_target || kl_horizon_of(ppo) >= static_cast<double>(ppo.batch_size),
                "ppo.kl_horizon",
                fmt::format("is below ppo.batch_size ({}): one iteration would change kl_coef by "
                            "more than a fifth",
                            ppo.batch_size));
}

void check_data(const PpoSetup& s, Checker& check) {
  check.require(!s.data.train.empty(), "data.train", "is missing: a JSONL file with prompts");
  for (const char* path : {"ppo.eval_steps", "ppo.eval_samples", "ppo.best_max_kl"}) {
    check.no_effect_unless(s.data.eval.has_value(), path, "without data.eval");
  }
}

void check_devices(const PpoSetup& s, Checker& check) {
  check_device(s.devices.policy, "devices.policy", check);
  for (const auto& [name, path] : {std::pair(s.devices.reference, "devices.reference"),
                                   std::pair(s.devices.critic, "devices.critic"),
                                   std::pair(s.devices.reward, "devices.reward")}) {
    if (name) check_device(*name, path, check);
  }
  check.no_effect_unless(s.critic.kind != CriticKind::shared, "devices.critic",
                         "with critic.kind: shared, which reads the policy's own states");
  const bool models = std::ranges::any_of(s.reward, [](const RewardConfig& reward) {
    return reward.kind == RewardKind::model || reward.kind == RewardKind::adapter;
  });
  check.no_effect_unless(models, "devices.reward", "without a reward model or adapter");
}

}  // namespace

void check(const PpoSetup& setup, const Written& written, Problems& problems) {
  Checker checker(written, problems);
  check_quantize(setup.model, checker);
  checker.require(setup.model.dtype != DtypeChoice::float16, "model.dtype",
                  "float16 is for the supervised tasks: PPO's update has no loss scale here; take "
                  "bfloat16 where it is fast (a run measures that), or float32");
  check_lora(setup.lora, checker);
  checker.require(setup.lora.task_type == TaskType::CAUSAL_LM, "lora.task_type",
                  "task: ppo trains CAUSAL_LM adapters; a score head belongs to task: reward or "
                  "classification");
  check_reference(setup, checker);
  check_critic(setup.critic, checker);
  check_rate(learning_rate_of(setup.critic), "critic.learning_rate", checker);
  check_sizes(setup, checker);
  check_schedule(setup.ppo, checker);
  check_adaptive_kl(setup.ppo, written, checker);
  check_data(setup, checker);
  check_devices(setup, checker);
  check_saving(setup.run, checker);
  const bool one_device = std::ranges::all_of(EnumNames<Role>::values, [&](const auto& role) {
    return same_device(setup.devices.name(role.first), setup.devices.policy);
  });
  check_fsdp(setup.run, setup.model, one_device, /*generates=*/true, checker);
  checker.require(setup.lanes.scoring_group == 0 || setup.run.fsdp != Fsdp::full_shard,
                  "lanes.scoring_group",
                  "ranks gather sharded weights in one order, which groups of their own would mix; "
                  "leave it at 0 with run.fsdp: full_shard");
  checker.require(setup.run.save_strategy != SaveStrategy::epoch, "run.save_strategy",
                  "epoch is for the supervised tasks: an iteration of PPO may cross epochs");
  for (const std::string& problem : reward_problems(setup.reward)) {
    const size_t colon = problem.find(": ");
    problems.add(written, problem.substr(0, colon), problem.substr(colon + 2));
  }
}

std::vector<std::string> warnings(const PpoSetup& setup, const Written& written) {
  std::vector<std::string> lines;
  if (setup.lora.lora_dropout > 0 && written.contains("lora.lora_dropout")) {
    lines.emplace_back(
        "lora.lora_dropout: PPO runs every pass without dropout (otherwise the first probability "
        "ratio would not be 1)");
  }
  if (written.contains("ppo.vf_coef") && setup.ppo.vf_coef != PpoConfig{}.vf_coef &&
      !setup.critic.backprop_to_policy) {
    lines.emplace_back(
        "ppo.vf_coef: the critic has an optimizer of its own, so this factor changes only what "
        "max_grad_norm clips; critic.learning_rate is what it learns by");
  }
  const RolloutConfig& rollout = setup.rollout;
  if (rollout.top_k > 0 || rollout.top_p < 1 || rollout.min_p > 0 ||
      rollout.repetition_penalty != 1 || rollout.min_new_tokens > 0) {
    lines.emplace_back(
        "rollout: answers are drawn from a truncated, penalised or lengthened distribution, while "
        "PPO's "
        "log-probs are those of the whole one");
  }
  if (setup.ppo.total_episodes % setup.ppo.batch_size != 0) {
    const int64_t steps =
        (setup.ppo.total_episodes + setup.ppo.batch_size - 1) / setup.ppo.batch_size;
    lines.push_back(fmt::format(
        "ppo.total_episodes: {} is not a multiple of batch_size; the run takes {} iterations, {} "
        "episodes",
        setup.ppo.total_episodes, steps, steps * setup.ppo.batch_size));
  }
  return lines;
}

}  // namespace leash

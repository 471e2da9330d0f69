#include "configs/policy_checks.h"

#include <fmt/format.h>

#include <algorithm>

#include "rl/reward/source.h"

namespace leash {

void check_model_and_lora(const PolicyRecipe& recipe, Checker& check) {
  check_quantize(recipe.setup.model, check);
  check.require(recipe.setup.model.dtype != DtypeChoice::float16, "model.dtype",
                fmt::format("float16 is for the supervised tasks: {}'s update has no loss scale "
                            "here; take bfloat16 where it is fast (a run measures that), or "
                            "float32",
                            recipe.name));
  check_lora(recipe.setup.lora, check);
  check.require(recipe.setup.lora.task_type == TaskType::CAUSAL_LM, "lora.task_type",
                fmt::format("task: {} trains CAUSAL_LM adapters; a score head belongs to task: "
                            "reward or classification",
                            recipe.section));
}

void check_following(const PolicyRecipe& recipe, bool asked, Checker& check) {
  const bool follows = recipe.setup.reference.kind == ReferenceKind::follow;
  check.require(!follows || asked, "reference.kind",
                fmt::format("follow holds a policy close that {}: 0 does not hold at all",
                            recipe.key(recipe.kl_coef_key)));
  check.require(!follows || !recipe.config.best_max_kl, recipe.key("best_max_kl"),
                "is a distance from one reference; with reference.kind: follow there are many");
  for (const char* name : {"mixup_alpha", "sync_steps"}) {
    check.no_effect_unless(follows, std::string("reference.") + name,
                           "without reference.kind: follow");
  }
}

void check_reference(const PolicySetup& s, Checker& check) {
  const auto kind = s.reference.kind;
  check.require(kind != ReferenceKind::model || s.reference.path, "reference.kind",
                "model needs reference.path");
  check.require(kind != ReferenceKind::adapter || s.reference.path || s.lora.path, "reference.kind",
                "adapter needs reference.path (or lora.path)");
  check.no_effect_unless(kind == ReferenceKind::model || kind == ReferenceKind::adapter,
                         "reference.path", "without reference.kind: adapter or model");
}

void check_corrections(const PolicyRecipe& recipe, Checker& check) {
  const PolicyConfig& config = recipe.config;
  const bool corrects = config.importance_sampling_correction;
  for (const char* name : {"importance_sampling_mode", "importance_sampling_clip_max",
                           "importance_sampling_clip_min"}) {
    check.no_effect_unless(corrects, recipe.key(name), "without importance_sampling_correction");
  }
  check.require(!corrects || config.recompute_logprobs.value_or(true),
                recipe.key("importance_sampling_correction"),
                "compares the sampler's log-probs with those that recompute_logprobs: false leaves "
                "out");
  const auto& least = config.importance_sampling_clip_min;
  const auto& most = config.importance_sampling_clip_max;
  check.require(!least || !most || *least < *most, recipe.key("importance_sampling_clip_min"),
                "has to be below importance_sampling_clip_max");
  const bool truncates = config.importance_sampling_mode == CorrectionMode::token_truncate ||
                         config.importance_sampling_mode == CorrectionMode::sequence_truncate;
  check.require(!corrects || !truncates || least || most, recipe.key("importance_sampling_mode"),
                "truncates at bounds, and both are null");
}

void check_async(const PolicyRecipe& recipe, int64_t max_num_gen_batches, Checker& check) {
  const PolicySetup& s = recipe.setup;
  if (s.async.max_staleness == 0) return;
  const std::string path = "async.max_staleness";
  const bool corrects = recipe.config.importance_sampling_correction;
  check.require(
      corrects || !recipe.config.recompute_logprobs.value_or(false), path,
      fmt::format("answers come from an earlier policy than the one whose log-probs {} "
                  "computes: weigh them with {}: true",
                  recipe.key("recompute_logprobs"), recipe.key("importance_sampling_correction")));
  check.require(is_cpu(s.devices.policy), path, "is for devices.policy: cpu");
  check.require(s.lanes.scoring_group == 0, path,
                "with lanes.scoring_group answers are judged while they are sampled");
  check.require(
      s.run.fsdp != Fsdp::full_shard, path,
      "with run.fsdp: full_shard sampling and training would gather weights in two orders");
  check.require(max_num_gen_batches == 1, path,
                fmt::format("with {} above 1 the next prompts follow from this batch's scores",
                            recipe.key("max_num_gen_batches")));
}

void check_dual_clip(const PolicyRecipe& recipe, const std::optional<double>& delta,
                     double epsilon_high, Checker& check) {
  check.require(!delta || *delta > 1 + epsilon_high, recipe.key("delta"),
                fmt::format("has to be above 1 + the upper clip ({}): below it the clip decides",
                            epsilon_high));
}

void check_sizes(const PolicyRecipe& recipe, Checker& check) {
  const PolicyConfig& config = recipe.config;
  const RolloutConfig& rollout = recipe.setup.rollout;
  check.require(config.batch_size % config.num_mini_batches == 0, recipe.key("num_mini_batches"),
                fmt::format("{} does not divide {} ({})", config.num_mini_batches,
                            recipe.key("batch_size"), config.batch_size));
  check.require(rollout.min_new_tokens <= rollout.response_length, "rollout.min_new_tokens",
                fmt::format("is more than rollout.response_length ({})", rollout.response_length));
  check.require(rollout.stop_token || !config.missing_eos_penalty || !rollout.stop_texts.empty(),
                recipe.key("missing_eos_penalty"),
                "no answer can end by itself with rollout.stop_token: null");
  for (const std::string& text : rollout.stop_texts) {
    check.require(!text.empty(), "rollout.stop_texts", "holds an empty text");
  }
}

void check_schedule(const PolicyRecipe& recipe, Checker& check) {
  const PolicyConfig& config = recipe.config;
  check_rate(config.learning_rate, recipe.key("learning_rate"), check);
  const bool warms_up = config.lr_scheduler_type != SchedulerType::constant;
  for (const char* name : {"warmup_ratio", "warmup_steps"}) {
    check.no_effect_unless(warms_up, recipe.key(name), "with lr_scheduler_type: constant");
  }
  check.no_effect_unless(config.warmup_steps == 0, recipe.key("warmup_ratio"),
                         "beside " + recipe.key("warmup_steps"));
  const bool known = config.lr_scheduler_type != SchedulerType::warmup_stable_decay &&
                     config.lr_scheduler_type != SchedulerType::cosine_with_min_lr;
  check.require(known, recipe.key("lr_scheduler_type"),
                fmt::format("{} needs numbers that only sft.lr_scheduler_kwargs has",
                            enum_name(config.lr_scheduler_type)));
}

void check_kl_target(const PolicyRecipe& recipe, double kl_horizon, Checker& check) {
  check.require(!recipe.kl_target || recipe.kl_coef > 0, recipe.key("kl_target"),
                fmt::format("{}: 0 stays 0 whatever it is multiplied with; begin above 0",
                            recipe.kl_coef_key));
  check.require(
      !recipe.kl_target || kl_horizon >= static_cast<double>(recipe.config.batch_size),
      recipe.key("kl_horizon"),
      fmt::format("is below {} ({}): one iteration would change {} by more than a fifth",
                  recipe.key("batch_size"), recipe.config.batch_size, recipe.kl_coef_key));
}

void check_policy_data(const PolicyRecipe& recipe, Checker& check) {
  check.require(!recipe.setup.data.train.empty(), "data.train",
                "is missing: a JSONL file with prompts");
  for (const char* name : {"eval_steps", "eval_samples", "best_max_kl"}) {
    check.no_effect_unless(recipe.setup.data.eval.has_value(), recipe.key(name),
                           "without data.eval");
  }
}

void check_policy_devices(const PolicySetup& s, bool own_critic, const std::string& why_not,
                          Checker& check) {
  check_device(s.devices.policy, "devices.policy", check);
  for (const auto& [name, path] : {std::pair(s.devices.reference, "devices.reference"),
                                   std::pair(s.devices.critic, "devices.critic"),
                                   std::pair(s.devices.reward, "devices.reward")}) {
    if (name) check_device(*name, path, check);
  }
  check.no_effect_unless(own_critic, "devices.critic", why_not);
  const bool models = std::ranges::any_of(s.reward, [](const RewardConfig& reward) {
    return reward.kind == RewardKind::model || reward.kind == RewardKind::adapter;
  });
  check.no_effect_unless(models, "devices.reward", "without a reward model or adapter");
}

void check_run_and_rewards(const PolicyRecipe& recipe, const Written& written, Checker& check,
                           Problems& problems) {
  const PolicySetup& setup = recipe.setup;
  check_saving(setup.run, check);
  const bool one_device = std::ranges::all_of(EnumNames<Role>::values, [&](const auto& role) {
    return same_device(setup.devices.name(role.first), setup.devices.policy);
  });
  check_fsdp(setup.run, setup.model, one_device, /*generates=*/true, check);
  check.require(setup.lanes.scoring_group == 0 || setup.run.fsdp != Fsdp::full_shard,
                "lanes.scoring_group",
                "ranks gather sharded weights in one order, which groups of their own would mix; "
                "leave it at 0 with run.fsdp: full_shard");
  check.require(setup.run.save_strategy != SaveStrategy::epoch, "run.save_strategy",
                fmt::format("epoch is for the supervised tasks: an iteration of {} may cross "
                            "epochs",
                            recipe.name));
  for (const std::string& problem : reward_problems(setup.reward)) {
    const size_t colon = problem.find(": ");
    problems.add(written, problem.substr(0, colon), problem.substr(colon + 2));
  }
}

std::vector<std::string> kl_warnings(const PolicyRecipe& recipe, KlEstimator estimator,
                                     KlPlace place) {
  if (place != KlPlace::loss || estimator != KlEstimator::k1 || recipe.kl_coef == 0) return {};
  return {
      fmt::format("{}: the gradient of k1 in the loss is 0 in expectation, whatever the distance; "
                  "k2, k3 or exact pull towards the reference",
                  recipe.key("kl_estimator"))};
}

std::vector<std::string> policy_warnings(const PolicyRecipe& recipe, const Written& written) {
  std::vector<std::string> lines;
  if (recipe.setup.lora.lora_dropout > 0 && written.contains("lora.lora_dropout")) {
    lines.push_back(
        fmt::format("lora.lora_dropout: {} runs every pass without dropout (otherwise the first "
                    "probability ratio would not be 1)",
                    recipe.name));
  }
  return lines;
}

std::vector<std::string> sampling_warnings(const PolicyRecipe& recipe) {
  std::vector<std::string> lines;
  const RolloutConfig& rollout = recipe.setup.rollout;
  if (rollout.top_k > 0 || rollout.top_p < 1 || rollout.min_p > 0 ||
      rollout.repetition_penalty != 1 || rollout.min_new_tokens > 0) {
    lines.push_back(
        fmt::format("rollout: answers are drawn from a truncated, penalised or lengthened "
                    "distribution, while {}'s log-probs are those of the whole one",
                    recipe.name));
  }
  const int64_t episodes = recipe.config.total_episodes, size = recipe.config.batch_size;
  if (episodes % size != 0) {
    const int64_t steps = (episodes + size - 1) / size;
    lines.push_back(
        fmt::format("{}: {} is not a multiple of batch_size; the run takes {} iterations, {} "
                    "episodes",
                    recipe.key("total_episodes"), episodes, steps, steps * size));
  }
  return lines;
}

}  // namespace leash

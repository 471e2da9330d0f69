// The rules of `task: grpo`, `task: rloo` and `task: reinforce`.
#include <fmt/format.h>

#include "configs/checks.h"
#include "configs/policy_checks.h"

namespace leash {
namespace {

PolicyRecipe group_recipe(const PolicySetup& setup, const GroupConfig& config, const char* section,
                          const char* name) {
  return {.setup = setup,
          .config = config,
          .section = section,
          .name = name,
          .kl_coef_key = "beta",
          .kl_coef = config.beta,
          .kl_target = config.kl_target,
          .kl_horizon = config.kl_horizon};
}

void check_groups(const PolicyRecipe& recipe, const GroupConfig& config, int64_t least,
                  const std::string& why, Checker& check) {
  check.require(config.num_generations >= least, recipe.key("num_generations"),
                fmt::format("has to be at least {}: {}", least, why));
  check.require(config.batch_size % config.num_generations == 0, recipe.key("batch_size"),
                fmt::format("{} is not a multiple of {} ({})", config.batch_size,
                            recipe.key("num_generations"), config.num_generations));
}

void check_beta(const PolicyRecipe& recipe, const GroupConfig& config, Checker& check) {
  for (const char* name : {"kl_in", "kl_estimator"}) {
    check.no_effect_unless(config.beta > 0, recipe.key(name), "with beta: 0");
  }
  check.no_effect_unless(config.kl_target.has_value(), recipe.key("kl_horizon"),
                         "without " + recipe.key("kl_target"));
  check_kl_target(recipe, kl_horizon_of(config), check);
}

void check_dynamic_sampling(const PolicyRecipe& recipe, const GroupConfig& config, Checker& check) {
  check.require(config.max_num_gen_batches == 1 || config.num_generations > 1,
                recipe.key("max_num_gen_batches"),
                "needs groups: an answer alone always has the score of its group");
}

void check_truncation(const PolicyRecipe& recipe, const GroupConfig& config, Checker& check) {
  const RolloutConfig& rollout = recipe.setup.rollout;
  check.require(
      rollout.stop_token || !config.mask_truncated_completions || !rollout.stop_texts.empty(),
      recipe.key("mask_truncated_completions"),
      "no answer can end by itself with rollout.stop_token: null: none would be learnt from");
  check.require(config.overlong_buffer_len <= rollout.response_length,
                recipe.key("overlong_buffer_len"),
                fmt::format("is more than rollout.response_length ({})", rollout.response_length));
  check.no_effect_unless(config.overlong_buffer_len > 0, recipe.key("overlong_penalty_factor"),
                         "without " + recipe.key("overlong_buffer_len"));
}

void check_group_task(const PolicyRecipe& recipe, const GroupConfig& config, int64_t least,
                      const std::string& why, const Written& written, Checker& check,
                      Problems& problems) {
  check_model_and_lora(recipe, check);
  check_reference(recipe.setup, check);
  check_following(recipe, config.beta > 0, check);
  check_corrections(recipe, check);
  check_groups(recipe, config, least, why, check);
  check_sizes(recipe, check);
  check_schedule(recipe, check);
  check_beta(recipe, config, check);
  check_truncation(recipe, config, check);
  check_dynamic_sampling(recipe, config, check);
  check_async(recipe, config.max_num_gen_batches, check);
  check_policy_data(recipe, check);
  check_policy_devices(recipe.setup, /*own_critic=*/false,
                       fmt::format("with task: {}, which has no critic", recipe.section), check);
  check_run_and_rewards(recipe, written, check, problems);
}

void check_grpo_loss(const GrpoConfig& config, Checker& check) {
  const GrpoLoss loss = config.loss_type;
  const bool clips = loss != GrpoLoss::sapo && loss != GrpoLoss::vespo;
  const bool cispo = loss == GrpoLoss::cispo;
  const std::string with = fmt::format("with loss_type: {}", enum_name(loss));
  check.no_effect_unless(clips && !(cispo && config.epsilon_high), "grpo.epsilon",
                         cispo ? "with loss_type: cispo beside grpo.epsilon_high" : with);
  check.no_effect_unless(clips, "grpo.epsilon_high", with);
  check.no_effect_unless(clips && !cispo, "grpo.delta", with);
  check.require(loss != GrpoLoss::vespo || !config.importance_sampling_correction ||
                    config.importance_sampling_mode == CorrectionMode::token_truncate ||
                    config.importance_sampling_mode == CorrectionMode::token_mask,
                "grpo.importance_sampling_mode",
                "loss_type: vespo takes corrections of tokens: token_truncate or token_mask");
  check.require(loss != GrpoLoss::luspo || config.importance_sampling_level == RatioLevel::sequence,
                "grpo.importance_sampling_level",
                "loss_type: luspo takes the ratio of a whole answer: sequence");
  const bool reads_ratio =
      loss != GrpoLoss::vespo ||
      (config.beta > 0 && config.kl_in == KlPlace::loss && config.use_bias_correction_kl);
  check.no_effect_unless(reads_ratio, "grpo.importance_sampling_level", with);
  for (const char* name : {"grpo.sapo_temperature_neg", "grpo.sapo_temperature_pos"}) {
    check.no_effect_unless(loss == GrpoLoss::sapo, name, with);
  }
  for (const char* name :
       {"grpo.vespo_k_pos", "grpo.vespo_lambda_pos", "grpo.vespo_k_neg", "grpo.vespo_lambda_neg"}) {
    check.no_effect_unless(loss == GrpoLoss::vespo, name, with);
  }
  const bool estimates = config.kl_estimator != KlEstimator::exact;
  check.no_effect_unless(config.beta > 0 && config.kl_in == KlPlace::loss && estimates,
                         "grpo.use_bias_correction_kl",
                         config.beta == 0 ? "with beta: 0"
                         : estimates      ? "with kl_in: reward"
                                          : "with kl_estimator: exact");
}

const GroupConfig& config_of(const GrpoSetup& setup) { return setup.grpo; }
const GroupConfig& config_of(const RlooSetup& setup) { return setup.rloo; }
const GroupConfig& config_of(const ReinforceSetup& setup) { return setup.reinforce; }

void add_warnings(const PolicyRecipe& recipe, const GroupConfig& config,
                  std::vector<std::string>& lines) {
  for (std::string& line : kl_warnings(recipe, config.kl_estimator, config.kl_in)) {
    lines.push_back(std::move(line));
  }
  for (std::string& line : sampling_warnings(recipe)) lines.push_back(std::move(line));
}

const char* const kComparesAnswers = "an answer is compared with the others to its prompt";

}  // namespace

void check(const GrpoSetup& setup, const Written& written, Problems& problems) {
  Checker checker(written, problems);
  check_group_task(group_recipe(setup, setup.grpo, "grpo", "GRPO"), setup.grpo, 2, kComparesAnswers,
                   written, checker, problems);
  check_grpo_loss(setup.grpo, checker);
}

void check(const RlooSetup& setup, const Written& written, Problems& problems) {
  Checker checker(written, problems);
  check_group_task(group_recipe(setup, setup.rloo, "rloo", "RLOO"), setup.rloo, 2, kComparesAnswers,
                   written, checker, problems);
  check_dual_clip(group_recipe(setup, setup.rloo, "rloo", "RLOO"), setup.rloo.delta,
                  setup.rloo.epsilon_high.value_or(setup.rloo.epsilon), checker);
  const auto& range = setup.rloo.reward_clip_range;
  checker.require(!range || (range->size() == 2 && range->at(0) < range->at(1)),
                  "rloo.reward_clip_range", "has to be two numbers, the smaller one first");
}

void check(const ReinforceSetup& setup, const Written& written, Problems& problems) {
  Checker checker(written, problems);
  const ReinforceConfig& config = setup.reinforce;
  const bool group = config.baseline == Baseline::group;
  check_group_task(group_recipe(setup, config, "reinforce", "REINFORCE++"), config, group ? 2 : 1,
                   "baseline: group is the mean of the answers to one prompt", written, checker,
                   problems);
  check_dual_clip(group_recipe(setup, config, "reinforce", "REINFORCE++"), config.delta,
                  config.epsilon_high.value_or(config.epsilon), checker);
}

std::vector<std::string> warnings(const GrpoSetup& setup, const Written& written) {
  const PolicyRecipe recipe = group_recipe(setup, setup.grpo, "grpo", "GRPO");
  std::vector<std::string> lines = policy_warnings(recipe, written);
  if (setup.grpo.loss_type == GrpoLoss::cispo && !setup.grpo.epsilon_high) {
    lines.push_back(
        fmt::format("grpo.epsilon_high: with loss_type: cispo this is the largest weight of a "
                    "token, and epsilon ({}) in its place makes all of them small; ScaleRL takes 5",
                    setup.grpo.epsilon));
  }
  add_warnings(recipe, config_of(setup), lines);
  return lines;
}

std::vector<std::string> warnings(const RlooSetup& setup, const Written& written) {
  const PolicyRecipe recipe = group_recipe(setup, setup.rloo, "rloo", "RLOO");
  std::vector<std::string> lines = policy_warnings(recipe, written);
  add_warnings(recipe, config_of(setup), lines);
  return lines;
}

std::vector<std::string> warnings(const ReinforceSetup& setup, const Written& written) {
  const PolicyRecipe recipe = group_recipe(setup, setup.reinforce, "reinforce", "REINFORCE++");
  std::vector<std::string> lines = policy_warnings(recipe, written);
  add_warnings(recipe, config_of(setup), lines);
  return lines;
}

}  // namespace leash

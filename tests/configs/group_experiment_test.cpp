// Recipes of `task: grpo`, `task: rloo` and `task: reinforce`: defaults, rules, hints, reading
// back.
#include <gmock/gmock.h>

#include "configs/experiment.h"
#include "tests/configs/recipes.h"
#include "tests/support/files.h"

namespace leash {
namespace {

using ::testing::ElementsAre;
using testing::error_of;
using testing::experiment_of;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string least_of(const std::string& task) {
  return "task: " + task +
         "\ndata: {train: t.jsonl}\n"
         "reward: [{kind: function, name: length, parameters: {target: 5}}]\n";
}

template <class Setup>
Setup group_setup(const std::string& task, const testing::Lines& overrides = {}) {
  return std::get<Setup>(experiment_of(least_of(task), overrides).setup);
}

TEST(GroupRecipes, DefaultsAreTrls) {
  const auto grpo = group_setup<GrpoSetup>("grpo");
  EXPECT_EQ(grpo.grpo.num_generations, 8);
  EXPECT_EQ(grpo.grpo.num_iterations, 1);
  EXPECT_EQ(grpo.grpo.beta, 0);
  EXPECT_EQ(grpo.grpo.epsilon, 0.2);
  EXPECT_FALSE(grpo.grpo.epsilon_high || grpo.grpo.delta);
  EXPECT_EQ(grpo.grpo.loss_type, GrpoLoss::dapo);
  EXPECT_EQ(grpo.grpo.importance_sampling_level, RatioLevel::token);
  EXPECT_EQ(grpo.grpo.scale_rewards, ScaleRewards::group);
  EXPECT_FALSE(grpo.grpo.mask_truncated_completions);
  EXPECT_TRUE(grpo.grpo.use_bias_correction_kl);
  EXPECT_EQ(grpo.grpo.top_entropy_quantile, 1);
  EXPECT_EQ(grpo.grpo.kl_estimator, KlEstimator::k3);
  EXPECT_EQ(grpo.grpo.kl_in, KlPlace::loss);
  EXPECT_EQ(grpo.rollout.temperature, 1);
  const auto rloo = group_setup<RlooSetup>("rloo");
  EXPECT_EQ(rloo.rloo.num_generations, 2);
  EXPECT_EQ(rloo.rloo.beta, 0.05);
  EXPECT_EQ(rloo.rloo.kl_in, KlPlace::reward);
  EXPECT_EQ(rloo.rloo.kl_estimator, KlEstimator::k1);
  EXPECT_FALSE(rloo.rloo.normalize_advantages || rloo.rloo.reward_clip_range);
  const auto reinforce = group_setup<ReinforceSetup>("reinforce");
  EXPECT_EQ(reinforce.reinforce.num_generations, 1);
  EXPECT_EQ(reinforce.reinforce.baseline, Baseline::none);
  EXPECT_TRUE(reinforce.reinforce.whiten_advantages);
}

TEST(GroupRecipes, ReadBackFromTheirResolvedText) {
  for (const std::string task : {"grpo", "rloo", "reinforce"}) {
    const std::string resolved = resolved_yaml(experiment_of(least_of(task)));
    EXPECT_EQ(resolved_yaml(experiment_of(resolved)), resolved);
    EXPECT_THAT(resolved, Not(HasSubstr("critic:")));
  }
  const std::string all = resolved_yaml(
      experiment_of(least_of("rloo"), {"rloo.reward_clip_range=[-1, 2.5]", "rloo.kl_target=3"}));
  EXPECT_THAT(all, HasSubstr("reward_clip_range: [-1, 2.5]"));
  EXPECT_EQ(resolved_yaml(experiment_of(all)), all);
}

TEST(GroupRecipes, TheShippedOneIsRight) {
  const LoadedExperiment loaded =
      load_experiment(testing::repository("configs/recipes/grpo_sums.yaml"));
  EXPECT_THAT(loaded.warnings, IsEmpty());
}

TEST(GroupRecipes, RulesNameWhatDoesNotFit) {
  struct Case {
    std::string task, setting, problem;
  };
  for (const Case& c : std::vector<Case>{
           {"grpo", "grpo.batch_size=12", "grpo.batch_size: 12 is not a multiple of"},
           {"grpo", "grpo.num_generations=1", "grpo.num_generations: has to be at least 2"},
           {"rloo", "rloo.num_generations=1", "rloo.num_generations: has to be at least 2"},
           {"reinforce", "reinforce.baseline=group", "has to be at least 2: baseline: group"},
           {"grpo", "grpo.num_mini_batches=3", "3 does not divide grpo.batch_size (32)"},
           {"grpo", "grpo.kl_estimator=k1", "grpo.kl_estimator: has no effect with beta: 0"},
           {"grpo", "grpo.kl_target=2", "grpo.kl_target: beta: 0 stays 0"},
           {"grpo", "grpo.kl_horizon=64", "grpo.kl_horizon: has no effect without"},
           {"grpo", "grpo.use_bias_correction_kl=false", "has no effect with beta: 0"},
           {"grpo", "grpo.sapo_temperature_neg=2", "has no effect with loss_type: dapo"},
           {"grpo", "grpo.vespo_k_pos=2", "has no effect with loss_type: dapo"},
           {"grpo", "grpo={loss_type: sapo, epsilon: 0.1}", "has no effect with loss_type: sapo"},
           {"grpo", "grpo={loss_type: cispo, delta: 2}", "has no effect with loss_type: cispo"},
           {"grpo", "grpo={loss_type: vespo, importance_sampling_level: token}",
            "has no effect with loss_type: vespo"},
           {"grpo", "grpo.loss_type=luspo", "takes the ratio of a whole answer"},
           {"grpo", "grpo.loss_type=gpg", "has to be one of grpo, bnpo"},
           {"grpo", "grpo.top_entropy_quantile=1.5", "grpo.top_entropy_quantile: has to be"},
           {"grpo", "model.dtype=float16", "GRPO's update has no loss scale"},
           {"grpo", "devices.critic=cpu", "has no effect with task: grpo, which has no critic"},
           {"grpo", "run.save_strategy=epoch", "an iteration of GRPO may cross epochs"},
           {"rloo", "rloo.reward_clip_range=[1, 0]",
            "has to be two numbers, the smaller one first"},
           {"reinforce", "reinforce.max_num_gen_batches=2", "needs groups"},
           {"rloo", "rloo.delta=1.1", "rloo.delta: has to be above 1 + the upper clip (0.2)"},
           {"grpo", "grpo={beta: 0.1, kl_estimator: exact, use_bias_correction_kl: false}",
            "has no effect with kl_estimator: exact"},
           {"grpo", "reference.kind=follow", "reference.kind: follow holds a policy close"},
           {"grpo", "reference.sync_steps=4", "has no effect without reference.kind: follow"},
           {"rloo", "reference={kind: follow, path: a}", "reference.path: has no effect"},
           {"rloo", "reference={kind: follow, mixup_alpha: 1.5}",
            "reference.mixup_alpha: has to be"},
           {"grpo", "grpo.importance_sampling_mode=token_mask",
            "has no effect without importance_sampling_correction"},
           {"grpo", "grpo={importance_sampling_correction: true, recompute_logprobs: false}",
            "recompute_logprobs: false leaves out"},
           {"grpo", "grpo={importance_sampling_correction: true, importance_sampling_clip_min: 4}",
            "has to be below importance_sampling_clip_max"},
           {"grpo", "grpo={importance_sampling_correction: true, loss_type: vespo}",
            "loss_type: vespo takes corrections of tokens"},
           {"grpo", "async.max_staleness=2", "async.max_staleness: has to be"},
           {"grpo", "data.truncation_mode=cut", "has to be one of error, drop, keep_start"},
           {"rloo", "rloo.reward_clip_range=[1]",
            "has to be two numbers, the smaller one first"}}) {
    EXPECT_THAT(error_of(least_of(c.task), {c.setting}), HasSubstr(c.problem)) << c.setting;
  }
  EXPECT_THAT(error_of(least_of("grpo") + "critic: {kind: shared}\n"),
              HasSubstr("critic: there is no such setting; it belongs to task: ppo"));
  EXPECT_THAT(error_of(least_of("grpo"),
                       {"rollout.stop_token=null", "grpo.mask_truncated_completions=true"}),
              HasSubstr("none would be learnt from"));
}

TEST(GroupRecipes, SamplingBesideTrainingFitsNotEverything) {
  const std::string base = least_of("grpo") + "async: {max_staleness: 1}\n";
  const std::string corrected = "grpo.importance_sampling_correction=true";
  EXPECT_NO_THROW(experiment_of(base, {}));
  EXPECT_NO_THROW(experiment_of(base, {corrected}));
  EXPECT_THAT(error_of(base, {"grpo.recompute_logprobs=true"}),
              HasSubstr("weigh them with grpo.importance_sampling_correction: true"));
  for (const auto& [setting, problem] : std::vector<std::pair<std::string, std::string>>{
           {"lanes.scoring_group=4", "answers are judged while they are sampled"},
           {"run.fsdp=full_shard", "would gather weights in two orders"},
           {"grpo.max_num_gen_batches=2", "the next prompts follow from this batch's scores"}}) {
    EXPECT_THAT(error_of(base, {corrected, setting}), HasSubstr(problem)) << setting;
  }
}

TEST(GroupRecipes, KeysOfTrlThatLiveElsewhereArePointedAt) {
  for (const auto& [key, place] : std::vector<std::pair<std::string, std::string>>{
           {"temperature=0.9", "rollout.temperature"},
           {"top_p=0.9", "rollout.top_p"},
           {"max_completion_length=64", "rollout.response_length"},
           {"max_prompt_length=64", "data.max_prompt_length"},
           {"generation_batch_size=64", "grpo.batch_size"},
           {"steps_per_generation=2", "grpo.num_mini_batches"},
           {"kl_coef=0.1", "grpo.beta"},
           {"num_ppo_epochs=2", "grpo.num_iterations"},
           {"dual_clip=3", "grpo.delta"},
           {"filter_groups=true", "grpo.max_num_gen_batches"},
           {"vllm_importance_sampling_mode=token_mask", "grpo.importance_sampling_mode"},
           {"sync_ref_model=true", "reference: {kind: follow}"},
           {"ref_model_mixup_alpha=0.6", "reference: {kind: follow, mixup_alpha: …}"},
           {"ref_model_sync_steps=64", "reference: {kind: follow, sync_steps: …}"},
           {"cliprange=0.2", "grpo.epsilon"}}) {
    EXPECT_THAT(error_of(least_of("grpo"), {"grpo." + key}),
                HasSubstr("it is `" + place + "` here"));
  }
}

TEST(GroupRecipes, WarnOfAPriceThatPullsNowhere) {
  const auto warnings = [](const testing::Lines& overrides) {
    return parse_experiment(least_of("grpo"), "r.yaml", "/", overrides).warnings;
  };
  EXPECT_THAT(warnings({"grpo={beta: 0.1, kl_estimator: k1}"}),
              ElementsAre(HasSubstr("the gradient of k1 in the loss is 0 in expectation")));
  EXPECT_THAT(warnings({"grpo={beta: 0.1, kl_estimator: exact}"}), IsEmpty());
}

TEST(GroupRecipes, WarnOfWeightsThatAreAllSmall) {
  const auto warnings = [](const testing::Lines& overrides) {
    return parse_experiment(least_of("grpo"), "r.yaml", "/", overrides).warnings;
  };
  EXPECT_THAT(warnings({}), IsEmpty());
  EXPECT_THAT(warnings({"grpo.loss_type=cispo"}), ElementsAre(HasSubstr("grpo.epsilon_high")));
}

}  // namespace
}  // namespace leash

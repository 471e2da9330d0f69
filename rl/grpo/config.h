// All settings of GRPO's own section, under the names and with the defaults of TRL 1.16's
// GRPOConfig except where a comment or docs/algorithms/grpo.md says otherwise.
#pragma once

#include <string_view>
#include <utility>

#include "models/fields.h"
#include "rl/policy/group_advantages.h"
#include "rl/policy/group_config.h"
#include "rl/policy/losses.h"

namespace leash {

enum class GrpoLoss { grpo, bnpo, dr_grpo, dapo, cispo, sapo, luspo, vespo };
template <>
struct EnumNames<GrpoLoss> {
  static constexpr std::pair<GrpoLoss, std::string_view> values[] = {
      {GrpoLoss::grpo, "grpo"},   {GrpoLoss::bnpo, "bnpo"},   {GrpoLoss::dr_grpo, "dr_grpo"},
      {GrpoLoss::dapo, "dapo"},   {GrpoLoss::cispo, "cispo"}, {GrpoLoss::sapo, "sapo"},
      {GrpoLoss::luspo, "luspo"}, {GrpoLoss::vespo, "vespo"}};
};

struct GrpoConfig : GroupConfig {
  GrpoLoss loss_type = GrpoLoss::dapo;
  RatioLevel importance_sampling_level = RatioLevel::token;
  ScaleRewards scale_rewards = ScaleRewards::group;
  bool use_bias_correction_kl = true;
  double top_entropy_quantile = 1.0;
  double sapo_temperature_neg = 1.05;
  double sapo_temperature_pos = 1.0;
  double vespo_k_pos = 2.0;
  double vespo_lambda_pos = 3.0;
  double vespo_k_neg = 3.0;
  double vespo_lambda_neg = 2.0;
};
template <class Config, class Visitor>
requires Describes<Config, GrpoConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit_group_fields(c, visit);
  visit("loss_type", c.loss_type,
        "what token losses are and what their sum is divided by: grpo (mean of answers' means), "
        "bnpo (tokens of the minibatch), dapo (tokens of the iteration), dr_grpo (answers times "
        "rollout.response_length), cispo (weights clipped, not gradients), sapo (a soft gate), "
        "luspo (mean of answers' sums), vespo (gamma weights of whole answers)");
  visit("importance_sampling_level", c.importance_sampling_level,
        "ratio of each token, or of a whole answer (sequence: GSPO)");
  visit("scale_rewards", c.scale_rewards,
        "advantages over the standard deviation of their group, of the batch, or as they are");
  visit("use_bias_correction_kl", c.use_bias_correction_kl,
        "kl_in: loss: a token's KL times its ratio (DeepSeek-V3.2)");
  visit("top_entropy_quantile", c.top_entropy_quantile,
        "part of the tokens, those of the highest entropy, that the policy's loss is taken of",
        within(0, 1));
  visit("sapo_temperature_neg", c.sapo_temperature_neg, "sapo: where the advantage is not positive",
        above(0));
  visit("sapo_temperature_pos", c.sapo_temperature_pos, "sapo: where the advantage is positive",
        above(0));
  visit("vespo_k_pos", c.vespo_k_pos, "vespo: power of the weight, advantage not negative",
        at_least(0));
  visit("vespo_lambda_pos", c.vespo_lambda_pos, "vespo: its decay, advantage not negative",
        at_least(0));
  visit("vespo_k_neg", c.vespo_k_neg, "vespo: power of the weight, advantage negative",
        at_least(0));
  visit("vespo_lambda_neg", c.vespo_lambda_neg, "vespo: its decay, advantage negative",
        at_least(0));
}

// What a recipe says about a GRPO run.
struct GrpoSetup : PolicySetup {
  GrpoSetup() { rollout.temperature = 1.0; }  // TRL's for GRPO; 0.7 is its PPO's

  GrpoConfig grpo = {};
};

}  // namespace leash

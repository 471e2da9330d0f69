// Only adapters and the critic's head train: the shared base holds the same bits after PPO updates.
#include <ATen/Parallel.h>
#include <ATen/ops/equal.h>

#include "configs/experiment.h"
#include "rl/ppo/critic.h"
#include "rl/ppo/update.h"
#include "tests/cli/ppo_iteration.h"
#include "tests/cli/run_workspace.h"

namespace leash::testing {
namespace {

std::vector<at::Tensor> base_weights(const Decoder& decoder) {
  std::vector<at::Tensor> weights;
  for (size_t module = 0; module < decoder.modules().size(); ++module) {
    const at::Tensor weight = decoder.base_value(static_cast<int64_t>(module), /*bias=*/false);
    EXPECT_FALSE(weight.requires_grad()) << decoder.modules()[module].path;
    weights.push_back(weight.clone());
  }
  return weights;
}

// How many tensors differ.
int64_t num_changed(const std::vector<at::Tensor>& before, const std::vector<at::Tensor>& after) {
  int64_t changed = 0;
  for (size_t i = 0; i < before.size(); ++i) changed += at::equal(before[i], after[i]) ? 0 : 1;
  return changed;
}

std::vector<at::Tensor> copies(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> result;
  for (const at::Tensor& tensor : tensors) result.push_back(tensor.detach().clone());
  return result;
}

void iterate(const PpoSetup& setup, PolicyRoles& roles, PolicyOptimizers& optimizers,
             int64_t step) {
  Experience experience = sampled_experience(setup, roles, step);
  const auto alone = single_communicator();
  update(experience, step, {.policy = 1e-2, .critic = 1e-2}, ppo_update_rules(setup),
         {roles, optimizers, *alone});
}

TEST(BaseWeights, KeepTheirBitsWhateverTrains) {
  at::set_num_threads(1);
  const RunWorkspace work;
  for (const Lines& overrides :
       {Lines{"critic.backprop_to_policy=true"}, Lines{"critic.kind=adapter"},
        Lines{"critic={kind: separate, train: all}"}, Lines{"lora.modules_to_save=[lm_head]"},
        Lines{"lora.modules_to_save=[embed_tokens]"}}) {
    const PpoSetup setup =
        std::get<PpoSetup>(load_experiment(work.recipe(), overrides).experiment.setup);
    PolicyRoles roles = load_ppo_roles(setup);
    PolicyOptimizers optimizers(setup.ppo, roles);
    const auto base = base_weights(*roles.decoder);
    const auto policy = copies(roles.policy.parameters());
    const auto critic = copies(roles.critic->parameters());
    iterate(setup, roles, optimizers, 1);
    iterate(setup, roles, optimizers, 2);
    EXPECT_EQ(num_changed(base, base_weights(*roles.decoder)), 0) << overrides[0];
    EXPECT_GT(num_changed(policy, roles.policy.parameters()), 0) << overrides[0];
    EXPECT_GT(num_changed(critic, roles.critic->parameters()), 0) << overrides[0];
  }
}

}  // namespace
}  // namespace leash::testing

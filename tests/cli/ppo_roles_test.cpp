// Who takes part in a PPO run, as a recipe says it.
#include "rl/ppo_roles.h"

#include "configs/experiment.h"
#include "models/errors.h"
#include "tests/cli/run_workspace.h"
#include "tests/rl/byte_tokenizer.h"

namespace leash::testing {
namespace {

TEST(PpoRoles, WithAnAdapterToGoOnFromTheCriticHasItsRankAndTargets) {
  const RunWorkspace work;
  write_tiny_adapter(work / "warm", work / "model");
  const auto loaded = load_experiment(
      work.recipe(), {"lora={path: " + (work / "warm").string() + "}", "critic.kind=adapter"});
  const PpoRoles roles = load_ppo_roles(std::get<PpoSetup>(loaded.experiment.setup));
  ASSERT_TRUE(roles.critic.adapter);
  const auto policy = roles.policy.named_tensors(), critic = roles.critic.adapter->named_tensors();
  ASSERT_EQ(critic.size(), policy.size());
  for (size_t i = 0; i < policy.size(); ++i) {
    EXPECT_EQ(critic[i].first, policy[i].first);
    EXPECT_EQ(critic[i].second.sizes(), policy[i].second.sizes()) << policy[i].first;
  }
  // Another start than the policy's: its own B is zero.
  EXPECT_EQ(roles.critic.adapter->lora(roles.policy.lora(0) != nullptr ? 0 : 1)
                ->b.abs()
                .max()
                .item<double>(),
            0);
}

// A second model would read the policy's ids as other words.
TEST(PpoRoles, ASecondModelNeedsThePolicysVocabulary) {
  const RunWorkspace work;
  write_tiny_folder(work / "other");
  write_text(work / "other/tokenizer.json", byte_tokenizer_json(/*rotation=*/37));
  const std::string path = (work / "other").string();
  for (const auto& [key, setting] :
       {std::pair<std::string, std::string>{"reference.path",
                                            "reference={kind: model, path: " + path + "}"},
        {"critic.path", "critic={kind: separate, path: " + path + "}"}}) {
    const auto loaded = load_experiment(work.recipe(), {setting});
    try {
      load_ppo_roles(std::get<PpoSetup>(loaded.experiment.setup));
      ADD_FAILURE() << key << " was taken";
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr(key + ": its tokenizer differs"));
    }
  }
}

}  // namespace
}  // namespace leash::testing

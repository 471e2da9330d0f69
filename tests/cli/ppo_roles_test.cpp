// Who takes part in a PPO run, as a recipe says it.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "configs/experiment.h"
#include "models/errors.h"
#include "models/io/safetensors.h"
#include "models/lora/peft_adapter.h"
#include "models/random/random.h"
#include "rl/policy/critic_files.h"
#include "rl/policy/roles.h"
#include "rl/ppo/critic.h"
#include "rl/ppo/update.h"
#include "rollout/scoring.h"
#include "tests/cli/ppo_iteration.h"
#include "tests/cli/run_workspace.h"
#include "tests/rl/byte_tokenizer.h"
#include "tests/support/tensors.h"

namespace leash::testing {
namespace {

PpoSetup setup_of(const RunWorkspace& work, const Lines& overrides) {
  return std::get<PpoSetup>(load_experiment(work.recipe(), overrides).experiment.setup);
}

// The largest exact KL(policy ‖ reference) of a position of some texts.
double largest_kl(const PolicyRoles& roles) {
  const std::vector<ScoredText> texts = {{ids_of("alpha beta"), 1}, {ids_of("gamma"), 2}};
  double largest = 0;
  for (const auto& text : exact_kl_texts(*roles.decoder, &roles.policy, *roles.reference.decoder,
                                         roles.reference.adapter_or_none(), texts)) {
    for (const double kl : text) largest = std::max(largest, std::abs(kl));
  }
  return largest;
}

// Noise on every tensor, so that nothing that starts at zero hides.
void disturb(const std::vector<at::Tensor>& parameters, double size) {
  for (size_t i = 0; i < parameters.size(); ++i) {
    parameters[i].detach().add_(
        normal_tensor({23, Purpose::noise, i}, parameters[i].sizes(), 0, size));
  }
}

// Without anything said the policy is held to where it started, which is not the base.
TEST(PpoRoles, WithAnAdapterToGoOnFromTheReferenceIsAFrozenCopyOfIt) {
  const RunWorkspace work;
  write_tiny_adapter(work / "warm", work / "model");
  for (const Lines& reference : {Lines{}, Lines{"reference.kind=adapter"}}) {
    Lines overrides = {"lora={path: " + (work / "warm").string() + "}"};
    overrides.insert(overrides.end(), reference.begin(), reference.end());
    const PolicyRoles roles = load_ppo_roles(setup_of(work, overrides));
    ASSERT_NE(roles.reference.adapter_or_none(), nullptr);
    EXPECT_TRUE(roles.reference.adapter_or_none()->parameters().empty()) << "frozen";
    EXPECT_LT(largest_kl(roles), 1e-5);
    disturb(roles.policy.parameters(), 0.1);
    EXPECT_GT(largest_kl(roles), 1e-2) << "the reference moved with the policy";
  }
}

TEST(PpoRoles, AReferenceIsWhatTheRecipeSays) {
  const RunWorkspace work;
  write_tiny_adapter(work / "warm", work / "model");
  write_tiny_adapter(work / "other", work / "model", /*seed=*/9);
  const std::string warm = "lora={path: " + (work / "warm").string() + "}";
  const PolicyRoles off = load_ppo_roles(setup_of(work, {warm, "reference.kind=adapter_off"}));
  EXPECT_EQ(off.reference.adapter_or_none(), nullptr);
  EXPECT_EQ(off.reference.decoder, off.decoder);
  EXPECT_GT(largest_kl(off), 1e-2);

  const std::string path = "reference={kind: adapter, path: " + (work / "other").string() + "}";
  for (const Lines& overrides :
       {Lines{path}, Lines{path, warm}, Lines{path, "model.dtype=float64"}}) {
    const PolicyRoles roles = load_ppo_roles(setup_of(work, overrides));
    ASSERT_NE(roles.reference.adapter_or_none(), nullptr);
    EXPECT_TRUE(roles.reference.adapter_or_none()->parameters().empty());
    const auto loaded = load_adapter(work / "other", roles.decoder->modules()).named_tensors();
    const auto used = roles.reference.adapter_or_none()->named_tensors();
    ASSERT_EQ(used.size(), loaded.size());
    for (size_t i = 0; i < used.size(); ++i) {
      EXPECT_TRUE(all_close(used[i].second.to(at::kFloat), loaded[i].second, 0)) << used[i].first;
    }
    EXPECT_GT(largest_kl(roles), 1e-2);
  }
}

TEST(PpoRoles, AReferenceThatFollowsTakesItsPartOfThePolicy) {
  const RunWorkspace work;
  PolicyRoles roles = load_ppo_roles(
      setup_of(work, {"reference={kind: follow, mixup_alpha: 0.25, sync_steps: 3}"}));
  ASSERT_TRUE(roles.reference.follows);
  EXPECT_TRUE(roles.reference.adapter->parameters().empty()) << "frozen";
  EXPECT_LT(largest_kl(roles), 1e-5);
  const Adapter before = roles.reference.adapter->clone();
  disturb(roles.policy.parameters(), 0.1);
  for (const int64_t step : {1, 2}) follow(roles.reference, roles.policy, step);
  const double far = largest_kl(roles);
  EXPECT_GT(far, 1e-2);
  follow(roles.reference, roles.policy, 3);
  const auto mixed = roles.reference.adapter->named_tensors();
  const auto policy = roles.policy.named_tensors(), old = before.named_tensors();
  for (size_t i = 0; i < mixed.size(); ++i) {
    EXPECT_TRUE(all_close(mixed[i].second,
                          policy[i].second.detach() * 0.25 + old[i].second.detach() * 0.75, 1e-6))
        << mixed[i].first;
  }
  EXPECT_LT(largest_kl(roles), far);
  roles.reference.follows->mixup_alpha = 1;
  follow(roles.reference, roles.policy, 6);
  EXPECT_LT(largest_kl(roles), 1e-5) << "the policy itself";
}

double value_difference(const Critic& a, const Critic& b) {
  const std::vector<ScoredText> texts = {{ids_of("alpha beta"), 1}, {ids_of("gamma"), 2}};
  const auto values = [&](const Critic& critic) {
    return value_texts(*critic.decoder, critic.adapter ? &*critic.adapter : nullptr, critic.head,
                       texts);
  };
  const auto left = values(a), right = values(b);
  double largest = 0;
  for (size_t i = 0; i < left.size(); ++i) {
    for (size_t j = 0; j < left[i].size(); ++j) {
      largest = std::max(largest, std::abs(left[i][j] - right[i][j]));
    }
  }
  return largest;
}

TEST(PpoRoles, ACriticStartsWhereAnotherOneEnded) {
  const RunWorkspace work;
  for (const char* kind : {"kind: shared", "kind: adapter", "kind: separate, train: head",
                           "kind: separate, train: lora", "kind: separate, train: all"}) {
    SCOPED_TRACE(kind);
    const std::string critic = std::string("critic={") + kind;
    const PolicyRoles earlier = load_ppo_roles(setup_of(work, {critic + "}"}));
    disturb(earlier.critic->parameters(), 0.1);
    const auto folder = work / "critic";
    std::filesystem::remove_all(folder);
    save_critic(folder, *earlier.critic, "base");
    const PolicyRoles fresh = load_ppo_roles(setup_of(work, {critic + "}"}));
    EXPECT_GT(value_difference(*earlier.critic, *fresh.critic), 1e-2);
    // Another seed, so that nothing agrees by itself.
    const PolicyRoles later = load_ppo_roles(
        setup_of(work, {critic + ", start: " + folder.string() + "}", "run.seed=99"}));
    EXPECT_LT(value_difference(*earlier.critic, *later.critic), 1e-6);
    EXPECT_EQ(later.critic->parameters().size(), earlier.critic->parameters().size());
    for (const at::Tensor& parameter : later.critic->parameters()) {
      EXPECT_TRUE(parameter.requires_grad() && parameter.is_leaf());
    }
    const bool shared = std::string(kind) == "kind: shared";
    const std::string other = shared ? "critic={kind: adapter" : "critic={kind: shared";
    EXPECT_THROW(load_ppo_roles(setup_of(work, {other + ", start: " + folder.string() + "}"})),
                 ConfigError);
  }
  EXPECT_THROW(load_ppo_roles(setup_of(work, {"critic.start=" + (work / "model").string()})),
               FormatError);
}

// A sequence-classification checkpoint's head says how good a text is: V begins there.
TEST(PpoRoles, ACriticStartsAtScoreOfItsCheckpoint) {
  const RunWorkspace work;
  const TinyOptions options{.vocab_size = kTinyVocabulary, .max_positions = 128, .seed = 8};
  write_tiny_folder(work / "judge", options);
  const auto file = work / "judge" / "model.safetensors";
  NamedTensors tensors = read_safetensors(file);
  const int64_t hidden = options.hidden_size;
  const at::Tensor head = normal_tensor({5, Purpose::noise}, {1, hidden}, 0, 0.1);
  tensors.emplace_back("score.weight", head);
  write_safetensors(file, tensors);
  const std::string critic = "critic={kind: separate, path: " + (work / "judge").string();
  const PolicyRoles roles = load_ppo_roles(setup_of(work, {critic + ", train: head}"}));
  EXPECT_TRUE(all_close(roles.critic->head.weight.detach(), head, 0));
  tensors.back().second = normal_tensor({5, Purpose::noise}, {2, hidden}, 0, 0.1);
  write_safetensors(file, tensors);
  EXPECT_THROW(load_ppo_roles(setup_of(work, {critic + "}"})), FormatError);
}

// What the critic said while sampling is what it says in the first minibatch: V = V_old, so that
// with G = V_old + 0.5 the loss is ½ · 0.25.
TEST(PpoRoles, ValuesInTheFirstMinibatchAreThoseOfSampling) {
  at::set_num_threads(1);
  const RunWorkspace work;
  write_tiny_folder(work / "second",
                    {.vocab_size = kTinyVocabulary, .max_positions = 128, .seed = 8});
  const std::string separate = "critic={kind: separate, path: " + (work / "second").string();
  for (const std::string& critic :
       {std::string("critic.kind=shared"), std::string("critic.kind=adapter"),
        separate + ", train: head}", separate + ", train: lora}", separate + ", train: all}"}) {
    const PpoSetup setup = setup_of(work, {critic});
    const PolicyRoles roles = load_ppo_roles(setup);
    disturb(roles.policy.parameters(), 0.1);
    disturb(roles.critic->parameters(), 0.1);
    Experience experience = sampled_experience(setup, roles, 1);
    EXPECT_GT(experience.values.masked_select(experience.mask).std().item<double>(), 0.1) << critic;
    experience.returns = experience.values + 0.5;
    const UpdateSums sums =
        accumulate_gradients(experience, {0, 1, 2, 3, 4, 5, 6, 7}, ppo_update_rules(setup), roles,
                             *single_communicator());
    EXPECT_NEAR(sums.value_loss, 0.125, 1e-5) << critic;
    EXPECT_LT(sums.gap_max, 1e-4) << critic;
  }
}

// One setting of `rollout:` at a time, and what the engine is told.
TEST(PpoRoles, RolloutSettingsReachTheEngine) {
  const RunWorkspace work;
  const auto config = [&](const std::string& setting) {
    const PpoSetup setup = setup_of(work, {"rollout." + setting, "run.seed=17"});
    return generation_config(setup, load_ppo_roles(setup), /*step=*/4);
  };
  const GenerationConfig plain = config("response_length=24");
  EXPECT_EQ(plain.sampling.temperature, 0.7);
  EXPECT_EQ(plain.max_new_tokens, 24);
  EXPECT_EQ(plain.seed, 17u);
  EXPECT_EQ(plain.step, 4u);
  EXPECT_EQ(plain.purpose, Purpose::sampling);
  EXPECT_EQ(plain.eos_token_ids, std::vector<int64_t>{2});
  EXPECT_EQ(config("temperature=1.25").sampling.temperature, 1.25);
  EXPECT_EQ(config("top_k=7").sampling.top_k, 7);
  EXPECT_EQ(config("top_p=0.75").sampling.top_p, 0.75);
  EXPECT_EQ(config("min_p=0.125").sampling.min_p, 0.125);
  EXPECT_EQ(config("repetition_penalty=1.5").sampling.repetition_penalty, 1.5);
  EXPECT_EQ(config("response_length=9").max_new_tokens, 9);
  EXPECT_EQ(config("min_new_tokens=5").min_new_tokens, 5);
  EXPECT_EQ(config("max_batch=3").max_batch, 3);
  EXPECT_EQ(config("stop_texts=[ab, c]").stop_texts, (Lines{"ab", "c"}));
  const GenerationConfig never = config("stop_token=null"), own = config("stop_token=\"!\"");
  EXPECT_TRUE(never.eos_token_ids.empty());
  EXPECT_TRUE(never.stop_token_ids.empty());
  EXPECT_TRUE(own.eos_token_ids.empty());
  EXPECT_EQ(own.stop_token_ids, ids_of("!"));
}

TEST(PpoRoles, WithAnAdapterToGoOnFromTheCriticHasItsRankAndTargets) {
  const RunWorkspace work;
  write_tiny_adapter(work / "warm", work / "model");
  const auto loaded = load_experiment(
      work.recipe(), {"lora={path: " + (work / "warm").string() + "}", "critic.kind=adapter"});
  const PolicyRoles roles = load_ppo_roles(std::get<PpoSetup>(loaded.experiment.setup));
  ASSERT_TRUE(roles.critic->adapter);
  const auto policy = roles.policy.named_tensors(), critic = roles.critic->adapter->named_tensors();
  ASSERT_EQ(critic.size(), policy.size());
  for (size_t i = 0; i < policy.size(); ++i) {
    EXPECT_EQ(critic[i].first, policy[i].first);
    EXPECT_EQ(critic[i].second.sizes(), policy[i].second.sizes()) << policy[i].first;
  }
  // Another start than the policy's: its own B is zero.
  EXPECT_EQ(roles.critic->adapter->lora(roles.policy.lora(0) != nullptr ? 0 : 1)
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

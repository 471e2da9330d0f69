// Rules across settings, settings without an effect, and warnings.
#include "configs/checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <type_traits>

#include "tests/configs/recipes.h"
#include "tests/support/pretend_device.h"

namespace leash::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

struct Case {
  std::string yaml;     // behind kLeast
  std::string problem;  // "" : none
};

void expect(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    const Lines problems = problems_of(kLeast + c.yaml);
    if (c.problem.empty()) {
      EXPECT_THAT(problems, IsEmpty()) << c.yaml;
    } else {
      EXPECT_THAT(problems, ElementsAre(c.problem)) << c.yaml;
    }
  }
}

TEST(Checks, TheLeastRecipeIsFine) { expect({{"", ""}}); }

TEST(Checks, AShardedBaseIsDense) {
  (void)testing::pretend_device();
  const std::string elsewhere =
      "r.yaml:5: run.fsdp: full_shard shards the policy's base, which roles on other devices do "
      "not share: their copy would be whole on each process; leave all roles on devices.policy";
  expect({
      {"run: {fsdp: full_shard}", ""},
      {"devices: {policy: \"cpu\"}\nrun: {fsdp: full_shard}", ""},
      {"devices: {policy: pretend}\nrun: {fsdp: full_shard}", ""},
      {"devices: {policy: pretend, reference: 'pretend:0'}\nrun: {fsdp: full_shard}", ""},
      {"devices: {policy: pretend, reference: cpu}\nrun: {fsdp: full_shard}", elsewhere},
      {"devices: {reference: pretend}\nrun: {fsdp: full_shard}", elsewhere},
      {"run: {fsdp: full_shard, gather_for_generation: false}", ""},
      {"run: {gather_for_generation: false}",
       "r.yaml:4: run.gather_for_generation: has no effect without run.fsdp: full_shard"},
      {"model: {quantize: nf4}\nrun: {fsdp: full_shard}",
       "r.yaml:5: run.fsdp: full_shard shards dense weights alone; with model.quantize each "
       "process keeps all of them"},
  });
}

TEST(Checks, ReferenceNeedsWhatItsKindReads) {
  expect({
      {"reference: {kind: model}", "r.yaml:4: reference.kind: model needs reference.path"},
      {"reference: {kind: model, path: m}", ""},
      {"reference: {kind: adapter}",
       "r.yaml:4: reference.kind: adapter needs reference.path (or lora.path)"},
      {"reference: {kind: adapter}\nlora: {path: a}", ""},
      {"reference: {kind: adapter, path: a}", ""},
      {"reference: {path: a}",
       "r.yaml:4: reference.path: has no effect without reference.kind: adapter or model"},
      {"reference: {kind: adapter_off, path: a}",
       "r.yaml:4: reference.path: has no effect without reference.kind: adapter or model"},
      {"reference: {kind: adapter_off}\nlora: {path: a}", ""},
  });
}

TEST(Checks, DevicesHaveToExist) {
  expect({
      {"devices: {policy: cpu, reference: cpu}", ""},
      {"devices: {policy: gpu}",
       "r.yaml:4: devices.policy: `gpu` is no device: cpu, cuda, or cuda:1 for the second GPU"},
#ifndef LEASH_CUDA
      {"devices: {policy: 'cuda:0'}",
       "r.yaml:4: devices.policy: cuda:0 needs a build with CUDA, and this is the CPU build: `make "
       "cuda`, or take cpu"},
      {"devices: {reference: cuda}",
       "r.yaml:4: devices.reference: cuda:0 needs a build with CUDA, and this is the CPU build: "
       "`make cuda`, or take cpu"},
#endif
      {"devices: {critic: cpu}",
       "r.yaml:4: devices.critic: has no effect with critic.kind: shared, which reads the policy's "
       "own states"},
      {"devices: {critic: cpu}\ncritic: {kind: adapter}", ""},
      {"devices: {reward: cpu}",
       "r.yaml:4: devices.reward: has no effect without a reward model or adapter"},
  });
}

TEST(Checks, WhatAnAdapterFolderSaysCannotBeSaidAgain) {
  for (const char* setting :
       {"r: 8", "lora_alpha: 8", "lora_dropout: 0", "target_modules: all-linear",
        "exclude_modules: [x]", "bias: none", "task_type: CAUSAL_LM", "use_rslora: false",
        "modules_to_save: []", "layers_to_transform: []", "rank_pattern: {}", "alpha_pattern: {}",
        "init_lora_weights: true"}) {
    const std::string text = setting;
    const std::string name = text.substr(0, text.find(':'));
    expect({{"lora: {" + text + "}", ""},
            {"lora:\n  path: a\n  " + text,
             "r.yaml:6: lora." + name +
                 ": has no effect with lora.path: it comes from that adapter"}});
  }
}

TEST(Checks, CriticSettingsBelongToTheirKind) {
  expect({
      {"critic: {path: c}", "r.yaml:4: critic.path: has no effect without critic.kind: separate"},
      {"critic: {kind: adapter, train: lora}",
       "r.yaml:4: critic.train: has no effect without critic.kind: separate"},
      {"critic: {kind: adapter, backprop_to_policy: false}",
       "r.yaml:4: critic.backprop_to_policy: has no effect without critic.kind: shared"},
      {"critic: {kind: separate, path: c, train: all}", ""},
      {"critic: {backprop_to_policy: true, learning_rate: 1}", ""},
      {"critic: {start: c, warmup_iterations: 2, warmup_steps: 3, optim: adamw_8bit}", ""},
      {"critic: {optim: sgd}",
       "r.yaml:4: critic.optim: has to be adamw_torch, adamw_8bit or paged_adamw_8bit"},
      {"critic: {lr_scheduler_type: constant, warmup_steps: 3}",
       "r.yaml:4: critic.warmup_steps: has no effect with lr_scheduler_type: constant"},
      {"critic: {warmup_iterations: 20}",
       "r.yaml:4: critic.warmup_iterations: leaves none of the 20 iterations to the policy"},
      {"ppo: {cliprange_value: null, whiten_advantages: false, kl_in: loss, kl_estimator: exact}",
       ""},
      {"ppo: {cliprange: 0.3, delta: 1.2}",
       "r.yaml:4: ppo.delta: has to be above 1 + the upper clip (0.3): below it the clip decides"},
  });
}

TEST(Checks, SizesFit) {
  expect({
      {"ppo: {batch_size: 8, num_mini_batches: 3}",
       "r.yaml:4: ppo.num_mini_batches: 3 does not divide ppo.batch_size (8)"},
      {"ppo: {batch_size: 8, total_episodes: 8, num_mini_batches: 4}", ""},
      {"rollout: {response_length: 4, min_new_tokens: 5}",
       "r.yaml:4: rollout.min_new_tokens: is more than rollout.response_length (4)"},
      {"rollout: {response_length: 4, min_new_tokens: 4}", ""},
      {"rollout: {stop_token: null}\nppo: {missing_eos_penalty: 1}",
       "r.yaml:5: ppo.missing_eos_penalty: no answer can end by itself with rollout.stop_token: "
       "null"},
      {"rollout: {stop_token: null, stop_texts: [x]}\nppo: {missing_eos_penalty: 1}", ""},
      {"rollout: {stop_texts: [x, '']}", "r.yaml:4: rollout.stop_texts: holds an empty text"},
  });
}

TEST(Checks, ScheduleSettingsThatNobodyReads) {
  expect({
      {"ppo: {lr_scheduler_type: constant, warmup_ratio: 0.1}",
       "r.yaml:4: ppo.warmup_ratio: has no effect with lr_scheduler_type: constant"},
      {"ppo: {lr_scheduler_type: warmup_stable_decay}",
       "r.yaml:4: ppo.lr_scheduler_type: warmup_stable_decay needs numbers that only "
       "sft.lr_scheduler_kwargs has"},
      {"ppo: {lr_scheduler_type: constant, warmup_steps: 1}",
       "r.yaml:4: ppo.warmup_steps: has no effect with lr_scheduler_type: constant"},
      {"ppo: {warmup_ratio: 0.1, warmup_steps: 3}",
       "r.yaml:4: ppo.warmup_ratio: has no effect beside ppo.warmup_steps"},
      {"ppo: {warmup_ratio: 0.1, warmup_steps: 0}", ""},
      {"ppo: {kl_horizon: 100}", "r.yaml:4: ppo.kl_horizon: has no effect without ppo.kl_target"},
      {"ppo: {kl_horizon: 100, kl_target: 6}", ""},
      {"ppo: {target_kl: 0.02}", ""},
      {"ppo: {target_kl: 0.02, kl_horizon: 100, kl_target: 6}", ""},
      {"ppo: {kl_horizon: 100, target_kl: 6}",
       "r.yaml:4: ppo.target_kl: ends an update's epochs early; what kl_coef adapts to with "
       "ppo.kl_horizon is ppo.kl_target"},
      {"ppo: {kl_horizon: 31, kl_target: 6}",
       "r.yaml:4: ppo.kl_horizon: is below ppo.batch_size (32): one iteration would change kl_coef "
       "by more than a fifth"},
      {"ppo: {kl_coef: 0, kl_target: 6}",
       "r.yaml:4: ppo.kl_target: kl_coef: 0 stays 0 whatever it is multiplied with; begin above 0"},

  });
}

TEST(Checks, EvaluationNeedsHeldOutPrompts) {
  for (const char* setting : {"eval_steps: 2", "eval_samples: 2", "best_max_kl: 2"}) {
    const std::string text = setting;
    expect({{"ppo: {" + text + "}", "r.yaml:4: ppo." + text.substr(0, text.find(':')) +
                                        ": has no effect without data.eval"}});
    EXPECT_THAT(problems_of("task: ppo\ndata: {train: t, eval: e}\n"
                            "reward: [{name: length, parameters: {target: 5}}]\nppo: {" +
                            text + "}"),
                IsEmpty());
  }
}

TEST(Checks, DataAndRewardAreNeeded) {
  EXPECT_THAT(problems_of("task: ppo\n"),
              ElementsAre("r.yaml: data.train: is missing: a JSONL file with prompts",
                          "r.yaml: reward: needs at least one source"));
  EXPECT_THAT(problems_of("task: ppo\ndata:\n  shuffle: false\nreward: []\n"),
              ElementsAre("r.yaml:2: data.train: is missing: a JSONL file with prompts",
                          "r.yaml:4: reward: needs at least one source"));
}

TEST(Checks, RewardsAreCheckedOneByOne) {
  const auto rewards = [](const std::string& entries) {
    return problems_of("task: ppo\ndata: {train: t}\nreward:\n" + entries);
  };
  EXPECT_THAT(rewards("- {kind: model}\n- {kind: http}\n- {kind: function, name: lenght}\n"
                      "- {name: length, parameters: {target: 1}, path: x}\n"
                      "- {kind: model, path: x, name: y, words: [z], parameters: {a: 1}}\n"),
              ElementsAre("r.yaml:4: reward[0].path: kind: model needs a checkpoint",
                          "r.yaml:5: reward[1].url: kind: http needs an address",
                          ::testing::StartsWith("r.yaml:6: reward[2].name: "),
                          "r.yaml:7: reward[3].path: has no effect with kind: function",
                          "r.yaml:8: reward[4].name: has no effect with kind: model",
                          "r.yaml:8: reward[4].parameters: has no effect with kind: model",
                          "r.yaml:8: reward[4].words: has no effect with kind: model"));
  EXPECT_THAT(rewards("- {name: length, parameters: {target: -1, cap: 2}}\n"),
              ElementsAre(::testing::StartsWith("r.yaml:4: reward[0].parameters.cap: "),
                          ::testing::StartsWith("r.yaml:4: reward[0].parameters.target: ")));
}

TEST(Checks, SeveralRulesAreReportedTogether) {
  EXPECT_EQ(problems_of(kLeast + "critic: {path: c}\nppo: {kl_horizon: 2, best_max_kl: 1}\n"
                                 "reference: {kind: model}\n")
                .size(),
            4u);
}

// A key that nobody reads changes no setting, so it hides nothing.
TEST(Checks, UnknownKeysAndRulesAcrossSettingsAreReportedTogether) {
  EXPECT_THAT(
      problems_of(kLeast + "ppo: {kl_ceof: 1, kl_horizon: 2}\nreference: {kind: model}\n"),
      ElementsAre("r.yaml:4: ppo.kl_ceof: there is no such setting (did you mean `kl_coef`?)",
                  "r.yaml:5: reference.kind: model needs reference.path",
                  "r.yaml:4: ppo.kl_horizon: has no effect without ppo.kl_target"));
  // With a value that could not be read nobody knows what the rules would say.
  EXPECT_THAT(problems_of(kLeast + "ppo: {gamma: x, kl_horizon: 2}\n"),
              ElementsAre("r.yaml:4: ppo.gamma: has to be a number, not `x`"));
}

// What a TRL user writes, and where it is here.
TEST(Checks, SettingsOfOtherProgramsArePointedOut) {
  const auto hints = [](const std::string& text) {
    std::string all;
    for (const std::string& problem : problems_of(text)) all += problem + "\n";
    return all;
  };
  EXPECT_THAT(hints("task: ppo\nppo: {response_length: 5, init_kl_coef: 0.1, output_dir: x}\n"),
              AllOf(HasSubstr("ppo.response_length: there is no such setting; it is "
                              "`rollout.response_length` here"),
                    HasSubstr("`ppo.kl_coef` here"), HasSubstr("`run.output_dir` here")));
  EXPECT_THAT(hints("task: ppo\nlora: {rank: 4}\n"), HasSubstr("`lora.r` here"));
  // Where the setting would be the very one that is missing, there is nothing to point at.
  EXPECT_THAT(hints("task: ppo\ndata: {max_length: 5}\n"),
              Not(HasSubstr("it is `data.max_length`")));
}

TEST(Checks, TheTaskDecidesFirst) {
  EXPECT_THAT(
      problems_of("ppo: {gamma: 1}\n"),
      ElementsAre(
          "r.yaml:1: task: is missing (task: ppo, task: sft, task: reward, task: classification, "
          "task: grpo, task: rloo, task: reinforce, task: dpo)"));
  EXPECT_THAT(
      problems_of("task: pop\n"),
      ElementsAre("r.yaml:1: task: has to be one of ppo, sft, reward, classification, grpo, rloo, "
                  "reinforce, dpo, not `pop` (did you mean `ppo`?)"));
  EXPECT_THAT(problems_of("- 1\n"),
              ElementsAre("r.yaml:1: has to be a map of sections (task: …, model: …)"));
  EXPECT_THAT(problems_of(""),
              ElementsAre("r.yaml: has to be a map of sections (task: …, model: …)"));
}

// One report for the syntax that is not supported, keys, types and ranges.
// Found by fuzzing: the other problem hid the task's, and nothing was read at all.
TEST(Checks, AnUnknownTaskIsNamedBesideAnotherProblem) {
  EXPECT_THAT(problems_of("task: pop\nreward: [{NULL: ada}]\n"),
              ElementsAre("r.yaml:2: null cannot be a key",
                          HasSubstr("r.yaml:1: task: has to be one of ppo")));
}

TEST(Checks, ProblemsOfAllKindsComeTogether) {
  EXPECT_THAT(problems_of("task: ppo\nppo:\n  gamma: 3\n  lam: high\n  lam: 1\n  kl_ceof: 1\n"
                          "data: {train: &t x}\nrun: {seed: *t, save_steps: [1]}\nrolout: {}\n"),
              ElementsAre("r.yaml:5: ppo.lam: stands twice",
                          "r.yaml:7: anchors and aliases are not supported: write the value out",
                          "r.yaml:8: anchors and aliases are not supported: write the value out",
                          "r.yaml:3: ppo.gamma: has to be at least 0 and at most 1, not 3",
                          "r.yaml:4: ppo.lam: has to be a number, not `high`",
                          "r.yaml:6: ppo.kl_ceof: there is no such setting (did you mean "
                          "`kl_coef`?)",
                          "r.yaml:8: run.save_steps: has to be a whole number, not a list",
                          "r.yaml:9: rolout: there is no such setting (did you mean `rollout`?)"));
}

TEST(Warnings, SayWhatIsProbablyNotMeant) {
  const auto warnings = [](const std::string& yaml) {
    return parse_experiment(kLeast + yaml, "r.yaml", "/").warnings;
  };
  EXPECT_THAT(warnings(""), IsEmpty());
  EXPECT_THAT(warnings("lora: {lora_dropout: 0.1}"),
              ElementsAre(::testing::StartsWith("lora.lora_dropout: ")));
  EXPECT_THAT(warnings("lora: {lora_dropout: 0}"), IsEmpty());
  for (const char* setting :
       {"top_k: 5", "top_p: 0.9", "min_p: 0.1", "repetition_penalty: 1.1", "min_new_tokens: 1"}) {
    EXPECT_THAT(warnings(std::string("rollout: {") + setting + "}"),
                ElementsAre(::testing::StartsWith("rollout: ")))
        << setting;
  }
  EXPECT_THAT(warnings("ppo: {total_episodes: 33, batch_size: 32}"),
              ElementsAre("ppo.total_episodes: 33 is not a multiple of batch_size; the run takes 2 "
                          "iterations, 64 episodes"));
}

// Small passes leave a GPU idle: the default depends on where the model is, what was written does
// not.
TEST(Checks, PassesAreLargerOnADevice) {
  (void)testing::pretend_device();
  const auto passes = [](const std::string& section, const std::string& recipe) {
    const auto loaded = parse_experiment(
        section == "ppo" ? kLeast + recipe : "task: " + section + recipe, "r.yaml", "/");
    return std::visit(
        [](const auto& setup) {
          using Setup = std::decay_t<decltype(setup)>;
          return (setup.*TaskTraits<Setup>::section).micro_batch_tokens;
        },
        loaded.experiment.setup);
  };
  const std::string there = "\ndevices: {policy: pretend}\n";
  for (const std::string section : {"ppo", "sft", "reward", "classification", "dpo"}) {
    const std::string data = section == "ppo" ? "" : "\ndata: {train: t.jsonl}\n";
    EXPECT_EQ(passes(section, data), 512) << section;
    EXPECT_EQ(passes(section, data + there), 4096) << section;
    EXPECT_EQ(passes(section, data + there + section + ": {micro_batch_tokens: 77}\n"), 77);
  }
}

TEST(Checks, APolicyIsALanguageModel) {
  expect({{"lora: {task_type: SEQ_CLS}",
           "r.yaml:4: lora.task_type: task: ppo trains CAUSAL_LM adapters; a score head belongs to "
           "task: reward or classification"},
          {"lora: {task_type: CAUSAL_LM}", ""}});
}

}  // namespace
}  // namespace leash::testing

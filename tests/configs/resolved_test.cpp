// resolved.yaml reproduces a run: it reads back to an equal text, for all settings.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/configs/recipes.h"
#include "tests/support/files.h"

namespace leash::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

void expect_fixpoint(const Experiment& experiment, const std::string& what) {
  const std::string once = resolved_yaml(experiment);
  std::string twice;
  try {
    const LoadedExperiment again = parse_experiment(once, "resolved.yaml", "/elsewhere");
    twice = resolved_yaml(again.experiment);
  } catch (const ConfigError& error) {
    FAIL() << what << ":\n" << error.what() << "\n" << once;
  }
  EXPECT_EQ(once, twice) << what;
  EXPECT_THAT(changed_settings(once, twice), IsEmpty()) << what;
}

TEST(Resolved, EveryShippedRecipeReadsBackEqual) {
  int recipes = 0;
  for (const char* root : {"configs/recipes", "experiments"}) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(repository(root))) {
      if (entry.path().extension() != ".yaml") continue;
      if (entry.path().parent_path().filename() == "tasks") continue;  // lm-eval's
      const LoadedExperiment loaded = load_experiment(entry.path());
      expect_fixpoint(loaded.experiment, entry.path().string());
      ++recipes;
    }
  }
  EXPECT_GE(recipes, 1);
}

// Every field that is not excluded by another one, each with a value that is not its default.
const char* const kEverything = R"(task: ppo
model: {path: models/m, dtype: bfloat16, quantize: none, gradient_checkpointing: true}
lora:
  r: 3
  lora_alpha: 0.1
  lora_dropout: 0.3
  target_modules: "q_proj|k:proj"
  exclude_modules: [a, "b: c"]
  bias: lora_only
  use_rslora: true
  modules_to_save: ["null"]
  trainable: ["a: b"]
  layers_to_transform: [0, 5]
  rank_pattern: {"^x\\.[0-9]+$": 2}
  alpha_pattern: {y: 1e-5, "": 3e-324}
  init_lora_weights: gaussian
reference: {kind: model, path: ref}
critic: {kind: separate, path: crit, train: head, learning_rate: 3.3e-5, start: st,
         lr_scheduler_type: constant_with_warmup, warmup_steps: 1, optim: adamw_8bit, warmup_iterations: 1}
reward:
  - {kind: model, label: one, weight: -0.1, clip: [-1e9, 0.5], normalize: running, path: smollm2, quantize: int8}
  - {kind: function, label: two, weight: 1e22, clip: [0, 1], normalize: running, name: distinct_words, parameters: {cap: 2.5}, words: [so, "true"]}
data: {train: "t: 1.jsonl", eval: e.jsonl, shuffle: false, max_prompt_length: 7, truncation_mode: drop,
       continue_final_message: true, chat_template: t.jinja,
       chat_template_kwargs: {enable_thinking: false, "1": "true"}, special_tokens_in_text: recognise}
rollout: {temperature: 0.1, top_k: 1, top_p: 0.2, min_p: 0.3, repetition_penalty: 1.7, response_length: 9,
          min_new_tokens: 2, stop_token: "#", stop_texts: ["\n\n", "é\t\\"], max_batch: 3}
ppo: {total_episodes: 12, batch_size: 6, num_mini_batches: 3, num_ppo_epochs: 5, micro_batch_tokens: 77,
      learning_rate: 1.1e-5, lr_scheduler_type: inverse_sqrt, warmup_steps: 2, adam_beta1: 0.5, adam_beta2: 0.7,
      adam_epsilon: 1e-300, weight_decay: 0.01, max_grad_norm: 0.3, kl_coef: 0.07, kl_estimator: k3,
      importance_sampling_correction: true, importance_sampling_mode: token_mask, importance_sampling_clip_max: 2.5,
      importance_sampling_clip_min: 0.4, entropy_coef: 0.2, kl_in: loss, cliprange_high: 0.35, delta: 5, whiten_advantages: false,
      recompute_logprobs: true, kl_target: 6.1, target_kl: 0.3,
      kl_horizon: 33, cliprange: 0.3, cliprange_value: 0.4, vf_coef: 0.2, gamma: 0.99, lam: 0.9, whiten_rewards: true,
      missing_eos_penalty: 0.6, eval_steps: 2, eval_samples: 3, best_max_kl: 7.7}
devices: {policy: cpu, reference: cpu, critic: cpu, reward: cpu}
lanes: {concurrent: false, threads_per_lane: 3, timeline: true}
run: {output_dir: o, seed: 9223372036854775807, logging_steps: 3, save_steps: 4, save_total_limit: 5, samples_per_step: 3,
      report_to: [tensorboard], grace_seconds: 6, threads: 2, ddp_backend: nccl, ddp_timeout: 60, ddp_meeting_timeout: 30,
      fsdp: full_shard, gather_for_generation: false, export: [gguf-adapter]}
)";

TEST(Resolved, ARecipeThatSetsEverythingReadsBackEqual) {
  const Experiment everything = parse_experiment(kEverything, "e.yaml", "/recipes").experiment;
  expect_fixpoint(everything, "everything");
  // It really sets everything: what is in effect differs from the defaults in every line that is
  // not excluded here.
  const std::string resolved = resolved_yaml(everything);
  const std::string least = resolved_yaml(parse_experiment(kLeast, "l.yaml", "/x").experiment);
  Lines unchanged;
  for (const std::string& line : lines_of(least)) {
    if (line.starts_with(" ") && ("\n" + resolved).find("\n" + line + "\n") != std::string::npos) {
      unchanged.push_back(line);
    }
  }
  // `quantize` has one value, an adapter folder would exclude the fields of lora, the two rewards
  // have what the other kind lacks, `save_steps` is for that strategy alone, groups and async are
  // not for sharded weights, ppo trains one type of
  // adapter, and the only device that is everywhere is the CPU.
  EXPECT_THAT(
      unchanged,
      ElementsAre(
          "  quantize: none", "  path: null", "  task_type: CAUSAL_LM", "  - kind: function",
          "    path: null", "    quantize: none", "    words: []", "    column: null",
          "    extract: null", "    marker: null", "    pattern: null", "    unit: null",
          "    schema: {}", "    lexicon: {}", "    scripts: []", "    ignore_case: false",
          "    command: null", "    folder: null", "    mode: per_batch", "    max_restarts: 3",
          "    url: null", "    header_env: null", "    ca_file: null", "    batch_size: 16",
          "    concurrency: 4", "    retries: 4", "    ids: false", "    timeout_seconds: 600",
          "  policy: cpu", "  scoring_group: 0", "  max_staleness: 0", "  save_strategy: steps"));
  EXPECT_THAT(resolved, HasSubstr("alpha_pattern: {y: 1e-05, \"\": 5e-324}"));
  EXPECT_THAT(resolved, HasSubstr("seed: 9223372036854775807"));
}

TEST(Resolved, EverySourceOfRewardReadsBackEqual) {
  const std::string recipe = R"(task: ppo
data: {train: t}
reward:
  - {name: exact_answer, column: a.b, extract: marker, marker: "A:", ignore_case: true}
  - {name: regex, pattern: "^\\s*(?i)[a-z]+: #\n"}
  - {name: length, unit: characters, parameters: {target: 3, tolerance: 0.1}}
  - {name: json_schema, schema: {type: object, properties: {"a b": {enum: [1, "1", null, true]}}, minProperties: 1}}
  - {name: lexicon, lexicon: {good: 1.5, bad: -2}, words: [fine]}
  - {name: language, scripts: [Han, Hiragana]}
  - {kind: command, command: "sh x.sh 'é'", mode: persistent, max_restarts: 0, ids: true, timeout_seconds: 3.5}
  - {kind: command, command: x, folder: there}
  - {kind: http, url: "https://h.example/a?b#c", header_env: TOKEN, ca_file: ca.pem, batch_size: 2, concurrency: 3, retries: 0}
)";
  const Experiment experiment = parse_experiment(recipe, "r.yaml", "/recipes").experiment;
  expect_fixpoint(experiment, "rewards");
  const std::string text = resolved_yaml(experiment);
  for (const char* line : {"    folder: /recipes\n", "    folder: /recipes/there\n",
                           "    ca_file: /recipes/ca.pem\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(Resolved, HoldsNothingThatHasNoEffect) {
  for (const std::string& yaml :
       {std::string("lora: {path: a}"), std::string("reference: {kind: adapter_off}"),
        std::string("critic: {kind: shared}"), std::string("critic: {kind: adapter}"),
        std::string("critic: {kind: separate}"), std::string("ppo: {lr_scheduler_type: constant}"),
        std::string("ppo: {warmup_steps: 3}"), std::string("ppo: {target_kl: 3}"),
        std::string("ppo: {kl_target: 3}"), std::string("rollout: {stop_token: null}")}) {
    expect_fixpoint(parse_experiment(kLeast + yaml, "r.yaml", "/r").experiment, yaml);
  }
  const std::string with_adapter =
      resolved_yaml(parse_experiment(kLeast + "lora: {path: a}", "r", "/r").experiment);
  EXPECT_THAT(with_adapter, HasSubstr("lora:\n  path: /r/a\nreference:"));
  EXPECT_THAT(with_adapter, Not(HasSubstr("eval_steps")));
}

TEST(Resolved, PathsAreAbsolute) {
  const std::string text =
      resolved_yaml(parse_experiment(kEverything, "e.yaml", "/recipes").experiment);
  for (const char* line :
       {"  path: /recipes/models/m\n", "  path: /recipes/ref\n", "  path: /recipes/crit\n",
        "    path: smollm2\n", "  train: \"/recipes/t: 1.jsonl\"\n", "  eval: /recipes/e.jsonl\n",
        "  output_dir: /recipes/o\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(Resolved, ChangedSettingsNameWhatDiffers) {
  const auto text = [](const Lines& overrides) {
    return resolved_yaml(parse_experiment(kLeast, "r.yaml", "/r", overrides).experiment);
  };
  EXPECT_THAT(changed_settings(text({}), text({})), IsEmpty());
  EXPECT_THAT(
      changed_settings(text({}), text({"ppo.total_episodes=1280", "rollout.stop_texts=[a, b]",
                                       "reward[0].weight=2", "ppo.kl_target=6"})),
      ElementsAre("ppo.kl_horizon: (none) -> null", "ppo.kl_target: null -> 6",
                  "ppo.total_episodes: 640 -> 1280", "reward[0].weight: 1 -> 2",
                  "rollout.stop_texts: 0 entries -> 2 entries",
                  "rollout.stop_texts[0]: (none) -> a", "rollout.stop_texts[1]: (none) -> b"));
  EXPECT_THAT(changed_settings(text({"ppo.gamma=0.5"}), text({})),
              ElementsAre("ppo.gamma: 0.5 -> 1"));
}

TEST(Docs, ConfigsMdIsUpToDate) {
  std::string on_disk;
  try {
    on_disk = read_text(repository("docs/configs.md"));
  } catch (const std::runtime_error& error) {
    FAIL() << error.what();
  }
  EXPECT_TRUE(on_disk == settings_markdown())
      << "docs/configs.md is out of date; write it again with\n"
         "  build/release/leash config docs > docs/configs.md";
}

TEST(Docs, NameEverySettingWithDefaultRangeAndMeaning) {
  const std::string text = settings_markdown();
  EXPECT_THAT(text, HasSubstr("## `reward` (of each entry)"));
  EXPECT_THAT(text, HasSubstr("| `cliprange` | `0.2` | number > 0 | of the probability ratio |"));
  EXPECT_THAT(text, HasSubstr("| `kind` | `shared` | none, shared, adapter, separate |"));
  EXPECT_THAT(text, HasSubstr("| `total_episodes` | `640` | integer ≥ 1 |"));
  for (const std::string& line : lines_of(text)) {
    if (!line.starts_with("| `")) continue;
    EXPECT_EQ(std::count(line.begin(), line.end(), '|'), 5) << line;
    EXPECT_THAT(line, Not(HasSubstr("|  |"))) << line;
  }
}

}  // namespace
}  // namespace leash::testing

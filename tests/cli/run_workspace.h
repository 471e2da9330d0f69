// A tiny PPO run: a recipe whose steps take a moment, its folder, and what two runs have in common.
#pragma once

#include <algorithm>
#include <string>

#include "tests/cli/workspace.h"

namespace leash::testing {

inline const std::string kReward =
    "[{kind: function, name: length, parameters: {target: 3}}, "
    "{kind: function, weight: 0.5, name: distinct_bigrams}]";

class RunWorkspace : public Workspace {
 public:
  RunWorkspace() {
    std::string prompts;
    for (const char* prompt : {"alpha", "be", "gamma ray", "delta", "e", "zeta function", "eta"}) {
      prompts += Json{{"prompt", prompt}}.dump() + "\n";
    }
    write_text(*this / "prompts.jsonl", prompts);
    write_text(*this / "held_out.jsonl", "{\"prompt\": \"theta\"}\n{\"prompt\": \"iota\"}\n");
    write_recipe("");
  }

  // Six iterations; `more` goes to the end of the ppo section, "" or "key: value, …".
  void write_recipe(const std::string& more) const {
    write_text(
        recipe(),
        "task: ppo\n"
        "model: {path: model}\n"
        "lora: {r: 4, lora_alpha: 8, target_modules: all-linear}\n"
        "reward: " +
            kReward +
            "\n"
            "data: {train: prompts.jsonl, eval: held_out.jsonl}\n"
            "rollout: {response_length: 24}\n"
            "ppo: {total_episodes: 48, batch_size: 8, num_mini_batches: 2, num_ppo_epochs: 2,\n"
            "      learning_rate: 1.0e-2, eval_steps: 3, micro_batch_tokens: 100, kl_target: 1" +
            (more.empty() ? "" : ", " + more) +
            "}\n"
            "lanes: {threads_per_lane: 1}\n"
            "run: {seed: 5, save_steps: 2, save_total_limit: 0, threads: 1}\n");
  }
  std::filesystem::path recipe() const { return *this / "recipe.yaml"; }

  Lines train_args(const std::string& folder, const Lines& more = {}) const {
    Lines args = {"train", recipe().string(), "--run-dir", (*this / folder).string()};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }
  Ended train(const std::string& folder, const Lines& more = {}) const {
    return run_leash(train_args(folder, more));
  }

  // Lines of metrics.jsonl that are whole; 0 while there is none.
  int64_t steps_written(const std::string& folder) const {
    try {
      const std::string text = read_text(*this / folder / "metrics.jsonl");
      return std::count(text.begin(), text.end(), '\n');
    } catch (const std::runtime_error&) {
      return 0;
    }
  }

  // metrics.jsonl without clocks and memory.
  Lines metrics(const std::string& folder) const {
    Lines lines;
    for (const std::string& line :
         leash::testing::lines_of(read_text(*this / folder / "metrics.jsonl"))) {
      auto json = nlohmann::ordered_json::parse(line);
      nlohmann::ordered_json kept;
      for (const auto& [key, value] : json.items()) {
        if (!key.starts_with("perf/")) kept[key] = value;
      }
      lines.push_back(kept.dump());
    }
    return lines;
  }

  void expect_equal_runs(const std::string& a, const std::string& b) const {
    for (const char* file :
         {"adapter/adapter_model.safetensors", "samples.jsonl",
          "snapshots/step-6/adapter_model.safetensors", "snapshots/step-6/critic.safetensors",
          "snapshots/step-6/optimizer.safetensors", "snapshots/step-6/state.json",
          "resolved.yaml"}) {
      EXPECT_TRUE(read_text(*this / a / file) == read_text(*this / b / file)) << file;
    }
    const Lines left = metrics(a), right = metrics(b);
    ASSERT_EQ(left.size(), right.size());
    for (size_t i = 0; i < left.size(); ++i) EXPECT_EQ(left[i], right[i]);
  }
};

}  // namespace leash::testing

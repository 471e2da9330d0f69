// Runs of several processes: recipes of every task whose shares are uneven, and what two runs have
// in common.
#pragma once

#include <cmath>
#include <set>

#include "models/io/safetensors.h"
#include "tests/cli/run_workspace.h"
#include "tests/support/ranks.h"

namespace leash::testing {

class DistributedWorkspace : public RunWorkspace {
 public:
  DistributedWorkspace() {
    std::string samples;
    for (int i = 0; i < 21; ++i) {
      samples += Json{{"prompt", "say " + std::to_string(7 * i) + ":"},
                      {"completion", std::string(static_cast<size_t>(1 + 3 * (i % 5)), 'a')}}
                     .dump() +
                 "\n";
    }
    write_text(*this / "samples.jsonl", samples);
    write_text(
        *this / "sft.yaml",
        "task: sft\n"
        "model: {path: model, dtype: float64}\n"
        "lora: {r: 4, lora_alpha: 8, target_modules: all-linear, lora_dropout: 0.1}\n"
        "data: {train: samples.jsonl, eval: samples.jsonl}\n"
        "sft: {per_device_train_batch_size: 5, gradient_accumulation_steps: 1, max_steps: 6,\n"
        "      learning_rate: 5.0e-3, neftune_noise_alpha: 5.0, eval_strategy: steps,\n"
        "      eval_steps: 3, eval_answers: 2, micro_batch_tokens: 40, optim: adamw_torch}\n"
        "run: {seed: 5, save_steps: 2, save_total_limit: 0, threads: 1}\n");
  }

  // Pairs for a reward model; with batches of three a fourth rank has none.
  void write_pairs() const {
    std::string pairs;
    for (int i = 0; i < 14; ++i) {
      pairs += Json{{"prompt", "tell " + std::to_string(i / 2) + ": "},
                    {"chosen", std::string(static_cast<size_t>(2 + i % 4), 'a')},
                    {"rejected", std::string(static_cast<size_t>(5 - i % 3), 'z')}}
                   .dump() +
               "\n";
    }
    write_text(*this / "pairs.jsonl", pairs);
    write_text(*this / "reward.yaml",
               "task: reward\n"
               "model: {path: model, dtype: float64}\n"
               "lora: {r: 4, lora_alpha: 8, target_modules: all-linear, lora_dropout: 0.1}\n"
               "data: {train: pairs.jsonl, eval: pairs.jsonl}\n"
               "reward: {per_device_train_batch_size: 3, max_steps: 6, learning_rate: 5.0e-3,\n"
               "         eval_strategy: steps, eval_steps: 3, micro_batch_tokens: 40,\n"
               "         disable_dropout: false}\n"
               "run: {seed: 5, save_steps: 2, save_total_limit: 0, threads: 1}\n");
  }

  // Texts of classes; likewise.
  void write_texts() const {
    std::string texts;
    for (int i = 0; i < 13; ++i) {
      texts += Json{{"text", std::string(static_cast<size_t>(1 + 5 * (i % 4)), 'a') + "!"},
                    {"label", i % 3}}
                   .dump() +
               "\n";
    }
    write_text(*this / "texts.jsonl", texts);
    write_text(
        *this / "classes.yaml",
        "task: classification\n"
        "model: {path: model, dtype: float64}\n"
        "lora: {r: 4, lora_alpha: 8, target_modules: all-linear, lora_dropout: 0.1,\n"
        "       trainable: [model.norm]}\n"
        "data: {train: texts.jsonl, eval: texts.jsonl}\n"
        "classification: {per_device_train_batch_size: 3, max_steps: 6, learning_rate: 5.0e-3,\n"
        "         eval_strategy: steps, eval_steps: 3, micro_batch_tokens: 20}\n"
        "run: {seed: 5, save_steps: 2, save_total_limit: 0, threads: 1}\n");
  }

  Lines ppo_args(const std::string& folder, const Lines& more = {}) const {
    Lines args = train_args(folder, {"--dtype", "float64"});
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }
  Lines sft_args(const std::string& folder, const Lines& more = {}) const {
    return args_of("sft.yaml", folder, more);
  }
  Lines args_of(const std::string& recipe, const std::string& folder,
                const Lines& more = {}) const {
    Lines args = {"train", (*this / recipe).string(), "--run-dir", (*this / folder).string()};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }

  // All that a run leaves but for clocks, memory, pages and the settings themselves.
  void expect_same_run(const std::string& a, const std::string& b) const {
    const Lines left = metrics(a), right = metrics(b);
    ASSERT_EQ(left.size(), right.size());
    for (size_t i = 0; i < left.size(); ++i) EXPECT_EQ(left[i], right[i]);
    const auto files = files_of(a);
    EXPECT_GT(files.size(), 2u);
    EXPECT_EQ(files, files_of(b));
    for (const auto& file : files) {
      EXPECT_TRUE(read_text(*this / a / file) == read_text(*this / b / file)) << file;
    }
  }

  // Numbers of two runs close to each other, step by step (what is not finite is null), and
  // adapters by the relative Frobenius norm of their difference.
  void expect_near_runs(const std::string& a, const std::string& b, double tolerance = 1e-6,
                        double adapters = 1e-4) const {
    const Lines left = metrics(a), right = metrics(b);
    ASSERT_EQ(left.size(), right.size());
    for (size_t i = 0; i < left.size(); ++i) {
      const auto x = Json::parse(left[i]), y = Json::parse(right[i]);
      ASSERT_EQ(keys_of(x), keys_of(y));
      for (const auto& [key, value] : x.items()) {
        if (value.is_null() || y[key].is_null()) {
          EXPECT_EQ(value, y[key]) << key << " of line " << i;
          continue;
        }
        const double number = value, other = y[key];
        EXPECT_NEAR(number, other, tolerance * std::max(1.0, std::abs(number)))
            << key << " of line " << i;
      }
    }
    EXPECT_LT(relative_distance(*this / a / "adapter/adapter_model.safetensors",
                                *this / b / "adapter/adapter_model.safetensors"),
              adapters);
  }

 private:
  // Tensors, snapshots' states, evaluations and answers.
  std::set<std::string> files_of(const std::string& folder) const {
    std::set<std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(*this / folder)) {
      const std::string name = entry.path().filename(), extension = entry.path().extension();
      if (name == "metrics.jsonl" || !entry.is_regular_file()) continue;
      if (extension == ".safetensors" || extension.starts_with(".json")) {
        files.insert(std::filesystem::relative(entry.path(), *this / folder));
      }
    }
    return files;
  }

  static double relative_distance(const std::filesystem::path& a, const std::filesystem::path& b) {
    const NamedTensors left = read_safetensors(a), right = read_safetensors(b);
    EXPECT_EQ(left.size(), right.size());
    double difference = 0, norm = 0;
    for (size_t i = 0; i < left.size(); ++i) {
      EXPECT_EQ(left[i].first, right[i].first);
      difference += left[i].second.sub(right[i].second).square().sum().item<double>();
      norm += left[i].second.square().sum().item<double>();
    }
    EXPECT_GT(norm, 0.0);
    return std::sqrt(difference / norm);
  }
};

// Runs all ranks to their end. Rank 0 talks; the others are silent.
inline void expect_ranks_done(const Lines& args, int64_t size) {
  Ranks ranks(leash_command(args), size, {.timeout_seconds = 300});
  const auto ended = ranks.wait();
  for (int64_t rank = 0; rank < size; ++rank) {
    expect_done(ended[rank]);
    if (rank == 0) {
      EXPECT_THAT(ended[rank].out, ::testing::HasSubstr("report: "));
    } else {
      EXPECT_EQ(ended[rank].out + ended[rank].err, "");
    }
  }
}

}  // namespace leash::testing

// Supervised runs on tiny_llama with a byte tokenizer, for tests.
#pragma once

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "models/io/safetensors.h"
#include "rl/sft/trainer.h"
#include "tests/rl/byte_tokenizer.h"
#include "tests/support/files.h"

namespace leash::testing {

// A model folder whose tokens are bytes: only those of ids below 96 (capital letters, digits,
// signs) are in tiny_llama's vocabulary. EOS is 2.
inline void make_model(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  for (const char* file : {"config.json", "model.safetensors"}) {
    std::filesystem::copy_file(repository("tests/golden/tiny_llama") / file, folder / file);
  }
  write_text(folder / "tokenizer.json", byte_tokenizer_json());
  write_text(folder / "tokenizer_config.json", R"({"eos_token": "<|im_end|>"})");
}

// Five texts of 5 to 21 tokens, all trained but the first.
inline std::vector<SftSample> uneven_samples() {
  std::vector<SftSample> result;
  for (int64_t i = 0; i < 5; ++i) {
    SftSample sample{.line = i + 1, .id = static_cast<uint64_t>(i)};
    for (int64_t token = 0; token < 5 + 4 * i; ++token) {
      sample.ids.push_back((i * 31 + token * 17) % 96);
      sample.trained.push_back(token > 0 ? 1 : 0);
    }
    result.push_back(std::move(sample));
  }
  return result;
}

struct SftRun {
  RunOutcome outcome;
  std::vector<MetricsRow> rows;

  double metric(size_t row, const std::string& name) const {
    for (const auto& [metric, value] : rows.at(row).metrics) {
      if (metric == name) return value;
    }
    ADD_FAILURE() << "no metric " << name;
    return 0;
  }
};

// Runs a trainer; stops after `last_step` where that is given.
template <class Trainer>
SftRun run_trainer(Trainer& trainer, const RunFolder& run, int64_t last_step) {
  const auto file = run.path() / "metrics.jsonl";
  const int64_t begun = run.snapshot() ? run.snapshot()->step : 0;
  // Asked before each step, and once more after each.
  const auto steps_done = [&] {
    const auto rows = read_metrics(file);
    return rows.empty() ? begun : rows.back().step;
  };
  SftRun result{
      .outcome = trainer.train([&] { return last_step >= 0 && steps_done() >= last_step; }),
      .rows = {}};
  result.rows = read_metrics(file);
  return result;
}

// Runs (or resumes) in `folder` with a trainer of one's own; stops after `last_step` where that is
// given.
template <class Trainer, class Setup>
SftRun run_with(const Setup& setup, const std::filesystem::path& folder, int64_t last_step = -1) {
  Console silent(-1, false);
  RunFolder run = RunFolder::open(folder, std::filesystem::exists(folder / "snapshots"));
  const auto communicator = single_communicator();
  Trainer trainer(setup, {run, *communicator, silent});
  return run_trainer(trainer, run, last_step);
}

inline SftRun run_sft(const SftSetup& setup, const std::filesystem::path& folder,
                      int64_t last_step = -1) {
  return run_with<SftTrainer>(setup, folder, last_step);
}

// Two files of the same tensors: the Frobenius norm of their difference, relative to the second's.
inline double adapter_distance(const std::filesystem::path& a, const std::filesystem::path& b) {
  const NamedTensors left = read_safetensors(a), right = read_safetensors(b);
  EXPECT_EQ(left.size(), right.size());
  const std::map<std::string, at::Tensor> by_name(left.begin(), left.end());
  double difference = 0, norm = 0;
  for (const auto& [name, tensor] : right) {
    if (!by_name.contains(name)) {
      ADD_FAILURE() << "no tensor " << name;
      continue;
    }
    difference += tensor.sub(by_name.at(name)).square().sum().item<double>();
    norm += tensor.square().sum().item<double>();
  }
  return std::sqrt(difference / norm);
}

}  // namespace leash::testing

// How good the policy is on prompts that it does not train on: reward, exact KL from the reference,
// and signs of degenerate text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "rl/data/prompts.h"
#include "rl/distributed/communicator.h"
#include "rl/policy/roles.h"
#include "rl/statistics/metrics.h"
#include "rl/statistics/statistics.h"

namespace leash {

// One held-out answer.
struct EvaluatedAnswer {
  int64_t prompt = 0;  // index in the held-out file
  std::string text;
  double reward = 0;
  double kl =
      0;  // nats: Σ exact KL(policy ‖ reference) over the answer's positions, at temperature 1
  double reference_nll =
      0;  // nats: -Σ log-prob of the answer under the reference, at temperature 1
  double distinct_bigrams = 0;
  int64_t num_tokens = 0;
  std::string stop;
};

struct Evaluation {
  std::string decoding;  // greedy | sampled
  std::vector<EvaluatedAnswer> answers;

  MeanInterval reward() const;
  MeanInterval kl() const;    // nats per sequence
  double perplexity() const;  // under the reference: exp(Σ nll / Σ tokens)
  double distinct_bigrams()
      const;  // mean over answers of different pairs of neighbouring words / all pairs
  double mean_tokens() const;
  // "eval/<decoding>/reward", …
  Metrics metrics() const;
};

// Both ways of decoding; draws are keyed so that every evaluation of a run uses the same ones. The
// ranks split the answers by expected length; all get the whole evaluation. `step` is the policy's,
// for the sources of reward.
std::vector<Evaluation> evaluate(const PolicySetup& setup, const PolicyConfig& config,
                                 const PolicyRoles& roles, const std::vector<PromptRecord>& prompts,
                                 Lanes& lanes, Communicator& communicator, int64_t step = 0);

// evaluations/step-N.json in a run's folder, for the table at the end and for `leash evaluate`.
void write_evaluation(const std::filesystem::path& run_dir, int64_t step,
                      const std::vector<Evaluation>& evaluations);
bool has_evaluation(const std::filesystem::path& run_dir, int64_t step);
std::vector<Evaluation> read_evaluation(const std::filesystem::path& run_dir, int64_t step);

// The same figures of one policy, and `num_samples` answers.
std::string evaluation_table(const std::vector<Evaluation>& evaluations,
                             const std::vector<PromptRecord>& prompts, int64_t num_samples);

// Before against after: held-out reward with 95 % intervals and that of the paired difference, KL,
// text measures, and `num_samples` answers side by side.
std::string comparison_table(const std::vector<Evaluation>& before,
                             const std::vector<Evaluation>& after,
                             const std::vector<PromptRecord>& prompts, int64_t num_samples);

}  // namespace leash

// Where scores come from: reward functions, reward models, or a weighted sum of several.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/device/out_of_memory.h"
#include "models/tokenizer/tokenizer.h"
#include "rl/data/prompts.h"
#include "rl/reward/config.h"
#include "rl/reward/labels.h"
#include "rl/reward/sample.h"

namespace leash {

// What several sources say, and what it adds up to.
struct RewardScores {
  std::vector<double> total;  // per sample, as plain_total (scale.h)
  std::vector<std::vector<double>>
      parts;                         // per source, the scores themselves; empty: of one source
  std::vector<double> seconds = {};  // that each source took
};

// A source that could not score: the run has to end, since no score can be made up.
class RewardFailure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The seam for all that can judge an answer.
class RewardSource {
 public:
  virtual ~RewardSource() = default;
  // One score per sample, in their order. Pure in the samples: a score does not depend on its
  // neighbours. std::runtime_error where one cannot be had.
  virtual std::vector<double> score(const std::vector<RewardSample>& samples) const = 0;
  // The same by source.
  virtual RewardScores score_parts(const std::vector<RewardSample>& samples) const {
    return {.total = score(samples), .parts = {}, .seconds = {}};
  }
  // Names of the sources, in the order of the parts.
  virtual std::vector<std::string> labels() const { return {}; }
  // Tokens of the policy's that a prompt and its answer may have together; nullopt where the source
  // sets no limit, or counts in tokens of its own.
  virtual std::optional<int64_t> context() const { return std::nullopt; }
  // FormatError where no answer to this prompt can be scored, so that a run ends before it begins.
  virtual void check_prompt(const PromptRecord&) const {}
  // What the user should know before its scores are used.
  virtual std::vector<std::string> warnings() const { return {}; }
  // What programs say on standard error goes into files of this folder from now on, of each rank
  // into its own. Before the first score.
  virtual void keep_logs_in(const std::filesystem::path& /*folder*/, int64_t /*rank*/) const {}
  // What the source holds on devices besides the roles' own.
  virtual std::vector<MemoryUse> memory() const { return {}; }
};

// What a source has to know about the run.
struct RewardContext {
  std::optional<Tokenizer> tokenizer;  // the policy's; reward models compare theirs with it
  std::shared_ptr<const Decoder> decoder = {};  // the policy's base, for reward adapters
  at::ScalarType dtype = at::kFloat;            // of a reward model
  at::Device device = at::kCPU;                 // of a reward model
  int64_t micro_batch_tokens = 4096;
  std::shared_ptr<GatherQueue> gathers = {};  // a reward model's weights are sharded
};

// What is wrong with the `reward:` list, as "reward[0].name: …"; empty when nothing is. Opens no
// file.
std::vector<std::string> reward_problems(const std::vector<RewardConfig>& configs);

// The sum of all sources' scores (plain_total); a score that is not finite, or absurdly large, is a
// RewardFailure that names its source, as is whatever else a source fails with while it scores (but
// for what is wrong with a file). ConfigError with all problems; FormatError when a reward model or
// adapter cannot be loaded.
std::unique_ptr<const RewardSource> make_reward(const std::vector<RewardConfig>& configs,
                                                const RewardContext& context);

}  // namespace leash

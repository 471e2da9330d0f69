// Samples the answers that people compare, in the background and ahead of them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "experiments/label/label_recipe.h"
#include "experiments/label/session.h"
#include "models/decoder/decoder.h"
#include "models/tokenizer/tokenizer.h"
#include "rl/data/prompts.h"
#include "rollout/engine.h"

namespace leash::label {

// Whose answers: the i-th answer to a prompt comes from source i modulo their number.
struct AnswerSource {
  std::string name;                           // of the adapter; "base" without one
  std::optional<std::filesystem::path> path;  // of its folder
  double temperature = 1.0;
};

struct SamplerOptions {
  std::vector<AnswerSource> sources;
  int64_t answers = 2;       // per prompt; every two that differ make a pair
  int64_t most = INT64_MAX;  // pairs in all
  int64_t ahead = 4;         // pairs that wait for the person who has the fewest
  uint64_t seed = 0;
};

class AnswerSampler {
 public:
  // Loads model, adapters and prompts. ConfigError, FormatError.
  AnswerSampler(const LabelRecipe& recipe, const std::filesystem::path& prompts,
                SamplerOptions options);

  // What has to stay the same for a folder to be gone on with (LabelFolder::settle).
  Json settings() const;
  // Goes on behind the pairs that are there, and tells the session how many to expect.
  void begin(const std::vector<LabelPair>& there, LabelSession& session);
  // Until all prompts are through or the session stops. What goes wrong is told to the session.
  void run(LabelSession& session);

  const std::shared_ptr<const Decoder>& decoder() const { return decoder_; }

 private:
  struct Voice {
    AnswerSource source;
    std::optional<Adapter> adapter;
  };
  int64_t pairs_per_prompt() const { return options_.answers * (options_.answers - 1) / 2; }
  int64_t remaining() const;
  GenerationConfig generation(const Voice& voice) const;
  // The answers to `count` prompts from next_ on, by prompt; nothing when the session stops.
  std::optional<std::vector<std::vector<LabelAnswer>>> sample(int64_t count,
                                                              const LabelSession& session) const;
  std::vector<LabelPair> pairs_of(int64_t position, const std::vector<LabelAnswer>& answers) const;
  LabelAnswer answer_of(const Voice& voice, const PromptRecord& prompt,
                        const Completion& completion) const;
  const PromptRecord& prompt_at(int64_t position) const;

  LabelRecipe recipe_;
  SamplerOptions options_;
  std::shared_ptr<const Decoder> decoder_;
  std::string base_;  // fingerprint
  Tokenizer tokenizer_;
  std::vector<Voice> voices_;
  std::vector<PromptRecord> prompts_;
  std::vector<int64_t> order_;
  std::unique_ptr<const RolloutEngine> engine_;
  int64_t next_ = 0;   // place in the order
  int64_t there_ = 0;  // pairs of the folder
};

}  // namespace leash::label

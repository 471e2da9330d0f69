// A reward model that `task: reward` trained, over the policy's own base: an adapter and a head, no
// second model in memory.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/decoder/heads.h"
#include "rl/data/text_ending.h"
#include "rl/reward/source.h"

namespace leash {

// Scores the policy's own ids, prompt and answer, at their last token; what that is for an answer
// that ended by itself the adapter says (rl/data/text_ending.h).
class AdapterReward final : public RewardSource {
 public:
  // FormatError when the folder has no adapter with a score head for context.decoder.
  AdapterReward(const std::filesystem::path& folder, const RewardContext& context);
  std::vector<double> score(const std::vector<RewardSample>& samples) const override;
  std::vector<std::string> warnings() const override { return ending_.warnings; }

 private:
  std::shared_ptr<const Decoder> decoder_;
  Adapter adapter_;
  LinearHead head_;
  std::optional<Tokenizer> tokenizer_;  // the policy's
  AdapterEnding ending_;
  int64_t micro_batch_tokens_;
};

}  // namespace leash

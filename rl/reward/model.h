// A sequence-classification checkpoint (Hugging Face's *ForSequenceClassification) as a reward.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/decoder/heads.h"
#include "rl/reward/source.h"

namespace leash {

// Scores prompt and answer at their last token. Where the checkpoint has the policy's vocabulary
// the policy's own ids are read; otherwise prompt and answer are tokenised again as one text, with
// the checkpoint's special tokens before it and, when the answer ended by itself, its EOS after it.
class ModelReward final : public RewardSource {
 public:
  // FormatError when the checkpoint has no head with one output, or no tokenizer.
  ModelReward(const std::filesystem::path& path, const RewardContext& context,
              Quantize quantize = Quantize::none);
  std::vector<double> score(const std::vector<RewardSample>& samples) const override;

  std::optional<int64_t> context() const override;
  std::vector<MemoryUse> memory() const override;

  bool uses_policy_ids() const { return !tokenizer_.has_value(); }
  // What the model reads for a sample. FormatError when that is empty, longer than its context or
  // outside its vocabulary.
  std::vector<int64_t> ids_of(const RewardSample& sample) const;

 private:
  std::filesystem::path path_;
  std::shared_ptr<const Decoder> decoder_;
  LinearHead head_;
  std::optional<Tokenizer> tokenizer_;  // only where it differs from the policy's
  int64_t micro_batch_tokens_;
};

}  // namespace leash

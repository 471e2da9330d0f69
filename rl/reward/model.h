// A sequence-classification checkpoint (Hugging Face's *ForSequenceClassification) as a reward.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/decoder/heads.h"
#include "rl/reward/source.h"

namespace leash {

// Scores prompt and answer where transformers does: at the rightmost token that is not the
// checkpoint's pad_token_id. Where the checkpoint has the policy's vocabulary the policy's own ids
// are read (of a conversation, where it has the policy's chat template too, or none); otherwise
// prompt and answer are tokenised again, a plain text between the checkpoint's special tokens, a
// conversation through its chat template. Either way an answer that ended by itself ends with EOS.
// Of a text over the context the end is left out.
class ModelReward final : public RewardSource {
 public:
  // FormatError when the checkpoint has no head with one output, or no tokenizer.
  ModelReward(const std::filesystem::path& path, const RewardContext& context,
              Quantize quantize = Quantize::none);
  std::vector<double> score(const std::vector<RewardSample>& samples) const override;

  std::optional<int64_t> context() const override;
  void check_prompt(const PromptRecord& prompt) const override;
  std::vector<MemoryUse> memory() const override;

  // For plain prompts.
  bool uses_policy_ids() const { return same_vocabulary_; }
  // What the model reads for a sample. FormatError when that is empty or outside its vocabulary, or
  // needs a chat template that is not known.
  std::vector<int64_t> ids_of(const RewardSample& sample) const;

 private:
  std::vector<int64_t> whole_ids_of(const RewardSample& sample) const;

  std::filesystem::path path_;
  std::shared_ptr<const Decoder> decoder_;
  LinearHead head_;
  Tokenizer tokenizer_;
  std::optional<Tokenizer> policy_tokenizer_;
  bool same_vocabulary_ = false;  // as the policy's
  bool same_chat_ = false;        // what their chat templates render
  int64_t micro_batch_tokens_;
};

}  // namespace leash

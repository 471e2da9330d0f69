#include "rl/reward/adapter.h"

#include <c10/util/Exception.h>

#include "models/decoder/score_head.h"
#include "rl/reward/sequence.h"
#include "rollout/scoring.h"

namespace leash {
namespace {

std::shared_ptr<const Decoder> base_of(const RewardContext& context) {
  TORCH_CHECK(context.decoder != nullptr, "kind: adapter needs the policy's base");
  return context.decoder;
}

}  // namespace

AdapterReward::AdapterReward(const std::filesystem::path& folder, const RewardContext& context)
    : decoder_(base_of(context)),
      adapter_(load_score_adapter(folder, *decoder_)),
      head_(score_head(adapter_)),
      tokenizer_(context.tokenizer),
      ending_(tokenizer_ ? read_ending(folder, *tokenizer_) : AdapterEnding{}),
      micro_batch_tokens_(context.micro_batch_tokens) {}

std::vector<double> AdapterReward::score(const std::vector<RewardSample>& samples) const {
  if (samples.empty()) return {};
  std::vector<std::vector<int64_t>> sequences;
  sequences.reserve(samples.size());
  for (const RewardSample& sample : samples) {
    sequences.push_back(policy_sequence(sample, tokenizer_, ending_.ending));
    cut_to_context(decoder_->config(), sequences.back());
  }
  const at::Tensor scores =
      score_sequences(*decoder_, &adapter_, head_, sequences, micro_batch_tokens_)  // [samples, 1]
          .to(at::kDouble)
          .cpu()
          .contiguous();
  const auto* data = scores.const_data_ptr<double>();
  return {data, data + scores.numel()};
}

}  // namespace leash

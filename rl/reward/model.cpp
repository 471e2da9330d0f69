// Reward models: own decoder, own head, perhaps an own tokenizer.
#include "rl/reward/model.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/errors.h"
#include "models/io/checkpoint.h"
#include "rollout/scoring.h"

namespace leash {
namespace {

LinearHead load_head(const Checkpoint& checkpoint) {
  LinearHead head = LinearHead::load(checkpoint);
  if (head.weight.size(0) != 1) {
    throw FormatError(fmt::format("{}: a reward model has one output, this one has {}",
                                  checkpoint.path.string(), head.weight.size(0)));
  }
  return head;
}

}  // namespace

ModelReward::ModelReward(const std::filesystem::path& path, const RewardContext& context,
                         Quantize quantize)
    : path_(path), micro_batch_tokens_(context.micro_batch_tokens) {
  const Checkpoint checkpoint = open_checkpoint(path);
  head_ = load_head(checkpoint);  // before the large part
  Tokenizer tokenizer = Tokenizer::load(path);
  if (!context.tokenizer || !same_vocabulary(tokenizer, *context.tokenizer)) {
    tokenizer_ = std::move(tokenizer);
  }
  // What is quantised is small already, and stays whole.
  decoder_ = Decoder::load(checkpoint,
                           {.dtype = context.dtype,
                            .quantize = quantize,
                            .device = context.device,
                            .gathers = quantize == Quantize::none ? context.gathers : nullptr});
  head_ = head_.to(context.device);
}

std::vector<int64_t> ModelReward::ids_of(const RewardSample& sample) const {
  std::vector<int64_t> ids;
  if (tokenizer_) {
    ids = tokenizer_->encode_with_special(sample.prompt + sample.answer);
    const auto eos = tokenizer_->eos_token_id();
    if (sample.ended && eos && (ids.empty() || ids.back() != *eos)) ids.push_back(*eos);
  } else {
    ids = sample.prompt_ids;
    ids.insert(ids.end(), sample.token_ids.begin(), sample.token_ids.end());
  }
  const DecoderConfig& config = decoder_->config();
  const auto length = static_cast<int64_t>(ids.size());
  if (length == 0 || length > config.max_positions) {
    throw FormatError(
        fmt::format("reward model {}: a text of {} tokens does not fit its context of {}",
                    path_.string(), length, config.max_positions));
  }
  const auto [least, most] = std::minmax_element(ids.begin(), ids.end());
  if (*least < 0 || *most >= config.vocab_size) {
    throw FormatError(fmt::format("reward model {}: token {} is not among its {} embeddings",
                                  path_.string(), *least < 0 ? *least : *most, config.vocab_size));
  }
  return ids;
}

std::optional<int64_t> ModelReward::context() const {
  if (!uses_policy_ids()) return std::nullopt;
  return decoder_->config().max_positions;
}

std::vector<MemoryUse> ModelReward::memory() const {
  return {{.who = "weights of reward model " + path_.filename().string(),
           .device = decoder_->device().str(),
           .bytes = decoder_->weight_bytes()}};
}

std::vector<double> ModelReward::score(const std::vector<RewardSample>& samples) const {
  if (samples.empty()) return {};
  std::vector<std::vector<int64_t>> sequences;
  sequences.reserve(samples.size());
  for (const RewardSample& sample : samples) sequences.push_back(ids_of(sample));
  const at::Tensor scores =
      score_sequences(*decoder_, nullptr, head_, sequences, micro_batch_tokens_)  // [samples, 1]
          .to(at::kDouble)
          .cpu()
          .contiguous();
  const auto* data = scores.const_data_ptr<double>();
  return {data, data + scores.numel()};
}

}  // namespace leash

// Reward models: own decoder, own head, perhaps an own tokenizer.
#include "rl/reward/model.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/errors.h"
#include "models/io/checkpoint.h"
#include "rl/reward/sequence.h"
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

// A checkpoint without a template does not say that it wants another one.
bool renders_as(const Tokenizer& own, const Tokenizer& policy) {
  return own.chat_template().empty() || own.chat().source() == policy.chat().source() ||
         (!chat_fingerprint(own).empty() && chat_fingerprint(own) == chat_fingerprint(policy));
}

}  // namespace

ModelReward::ModelReward(const std::filesystem::path& path, const RewardContext& context,
                         Quantize quantize)
    : path_(path),
      tokenizer_(Tokenizer::load(path)),
      policy_tokenizer_(context.tokenizer),
      same_vocabulary_(policy_tokenizer_ && same_vocabulary(tokenizer_, *policy_tokenizer_)),
      same_chat_(policy_tokenizer_ && renders_as(tokenizer_, *policy_tokenizer_)),
      micro_batch_tokens_(context.micro_batch_tokens) {
  const Checkpoint checkpoint = open_checkpoint(path);
  head_ = load_head(checkpoint);  // before the large part
  // What is quantised is small already, and stays whole.
  decoder_ = Decoder::load(checkpoint,
                           {.dtype = context.dtype,
                            .quantize = quantize,
                            .device = context.device,
                            .gathers = quantize == Quantize::none ? context.gathers : nullptr});
  head_ = head_.to(context.device);
}

std::vector<int64_t> ModelReward::whole_ids_of(const RewardSample& sample) const {
  const bool reads_policy_ids = same_vocabulary_ && (sample.messages.empty() || same_chat_);
  // Its own EOS ends a text, whatever ends the policy's answers; a template it may lack.
  const bool no_template = !sample.messages.empty() && tokenizer_.chat_template().empty();
  const Tokenizer& trained_with = reads_policy_ids && no_template ? *policy_tokenizer_ : tokenizer_;
  const TextEnding ending{.append_eos = trained_with.eos_token_id().has_value()};
  try {
    return reads_policy_ids ? policy_sequence(sample, policy_tokenizer_, ending, &trained_with)
                            : foreign_sequence(sample, tokenizer_, ending);
  } catch (const FormatError& error) {
    throw FormatError(fmt::format("reward model {}: {}", path_.string(), error.what()));
  }
}

std::vector<int64_t> ModelReward::ids_of(const RewardSample& sample) const {
  const DecoderConfig& config = decoder_->config();
  std::vector<int64_t> ids = whole_ids_of(sample);
  cut_to_context(config, ids);
  leave_out_padding(config.pad_token_id, ids);
  if (ids.empty()) {
    throw FormatError(fmt::format("reward model {}: a text has no tokens", path_.string()));
  }
  const auto [least, most] = std::minmax_element(ids.begin(), ids.end());
  if (*least < 0 || *most >= config.vocab_size) {
    throw FormatError(fmt::format("reward model {}: token {} is not among its {} embeddings",
                                  path_.string(), *least < 0 ? *least : *most, config.vocab_size));
  }
  return ids;
}

void ModelReward::check_prompt(const PromptRecord& prompt) const {
  const auto ids = whole_ids_of({.prompt = prompt.text,
                                 .prompt_ids = prompt.ids,
                                 .messages = prompt.messages,
                                 .options = prompt.options});
  if (std::ssize(ids) < decoder_->config().max_positions) return;
  throw FormatError(fmt::format(
      "reward model {}: the prompt has {} of its tokens and leaves no room for an answer in its "
      "context of {}",
      path_.string(), ids.size(), decoder_->config().max_positions));
}

std::optional<int64_t> ModelReward::context() const {
  if (!same_vocabulary_) return std::nullopt;
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

// The rollout engine: prompts in, completions with their log-probs out. Prompts of different
// lengths run without padding, finished sequences leave the batch and waiting prompts take their
// slots.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/decoder/heads.h"
#include "models/fields.h"
#include "models/tokenizer/tokenizer.h"
#include "rollout/sampling.h"

namespace leash {

enum class StopReason { eos, stop_token, stop_text, length, context };
template <>
struct EnumNames<StopReason> {
  static constexpr std::pair<StopReason, std::string_view> values[] = {
      {StopReason::eos, "eos"},
      {StopReason::stop_token, "stop_token"},
      {StopReason::stop_text, "stop_text"},
      {StopReason::length, "length"},
      {StopReason::context, "context"}};
};

struct GenerationConfig {
  SamplingConfig sampling;
  int64_t max_new_tokens = 64;
  int64_t min_new_tokens = 0;           // stop tokens cannot be drawn before
  std::vector<int64_t> eos_token_ids;   // reported as `eos`; empty: nothing ends as eos
  std::vector<int64_t> stop_token_ids;  // reported as `stop_token`
  std::vector<std::string> stop_texts;  // needs a tokenizer
  uint64_t seed = 0;
  uint64_t step = 0;  // with seed and sample id the key of every draw
  Purpose purpose = Purpose::sampling;
  int64_t max_batch = 64;    // sequences that decode together
  bool record_steps = true;  // on a GPU: decoding steps as CUDA graphs (rollout/decode_step.h)
};

struct Prompt {
  std::vector<int64_t> ids;
  uint64_t sample =
      0;  // key of its draws; answers do not depend on the order or the company of prompts
};

struct Completion {
  uint64_t sample = 0;
  std::vector<int64_t> prompt_ids;
  std::vector<int64_t> token_ids;  // includes the token that ended it
  std::vector<double> logprobs;    // per token, see SampledToken::logprob
  std::vector<double> behaviour_logprobs;
  std::vector<double> entropies;
  std::vector<double> values;  // of the state before each token, when a value head was given
  StopReason stop = StopReason::length;
  std::string
      text;  // without the ending token and without the stop text; empty without a tokenizer
};

class RolloutEngine {
 public:
  // `tokenizer` may be absent: completions then carry no text, and stop texts are an error.
  RolloutEngine(std::shared_ptr<const Decoder> decoder, std::optional<Tokenizer> tokenizer);
  ~RolloutEngine();

  struct Callbacks {
    // A sequence is complete; called in an order that is a pure function of configuration, seed and
    // lengths.
    std::function<void(const Completion&)> on_finished;
    // A token was drawn (index of the prompt, token): for streaming. Returning false ends that
    // sequence (reported as length).
    std::function<bool(int64_t, int64_t)> on_token;
  };
  // Completions in the order of the prompts. A prompt that leaves no room for one token in the
  // context is a FormatError naming it. `value_head` reads the policy's own trunk.
  std::vector<Completion> generate(const std::vector<Prompt>& prompts, const Adapter* adapter,
                                   const GenerationConfig& config,
                                   const LinearHead* value_head = nullptr,
                                   const Callbacks& callbacks = {}) const;

 private:
  std::shared_ptr<const Decoder> decoder_;
  std::optional<Tokenizer> tokenizer_;
};

}  // namespace leash

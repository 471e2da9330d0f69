#include "rl/reward/sequence.h"

#include <algorithm>
#include <span>
#include <string>

#include "models/tokenizer/chat_template.h"
#include "rl/data/chat_prompt.h"
#include "rl/data/encode.h"

namespace leash {
namespace {

void append(std::vector<int64_t>& ids, std::span<const int64_t> more) {
  ids.insert(ids.end(), more.begin(), more.end());
}

// The answer's tokens without what ended it.
std::vector<int64_t> own_words(const RewardSample& sample, const Tokenizer& tokenizer) {
  const std::span<const int64_t> ids = sample.token_ids;
  const bool by_special = !ids.empty() && tokenizer.is_special(ids.back());
  for (size_t count = ids.size(); count-- > 0;) {
    const auto words = ids.first(count);
    if (by_special) return {words.begin(), words.end()};
    const std::string text = tokenizer.decode(words, /*skip_special=*/true);
    if (text == sample.answer) return {words.begin(), words.end()};
    if (text.size() < sample.answer.size()) break;  // the stop text begins within a token
  }
  return tokenizer.encode(sample.answer);
}

}  // namespace

std::vector<int64_t> policy_sequence(const RewardSample& sample,
                                     const std::optional<Tokenizer>& tokenizer,
                                     const TextEnding& ending, const Tokenizer* trained_with) {
  std::vector<int64_t> ids = sample.prompt_ids;
  if (!sample.ended || !tokenizer) {
    append(ids, sample.token_ids);
    return ids;
  }
  append(ids, own_words(sample, *tokenizer));
  append(ids, answer_ending(ending, trained_with != nullptr ? *trained_with : *tokenizer,
                            /*chat=*/!sample.messages.empty()));
  return ids;
}

std::vector<int64_t> foreign_sequence(const RewardSample& sample, const Tokenizer& tokenizer,
                                      const TextEnding& ending) {
  if (sample.messages.empty()) {
    std::vector<int64_t> ids = encode_text(tokenizer, sample.prompt + sample.answer);
    if (sample.ended) end_text(ending, tokenizer, ids);
    return ids;
  }
  std::vector<ChatMessage> messages = sample.messages;
  // data.continue_final_message: the answer is the rest of what the assistant had begun to say.
  const bool goes_on = messages.back().role == "assistant";
  if (goes_on) messages.back().append(sample.answer);
  if (!sample.ended) {
    RenderedChat chat =
        goes_on
            ? render_prompt(tokenizer, messages, /*continue_final_message=*/true, sample.options)
            : render_chat(tokenizer, messages, /*add_generation_prompt=*/true, sample.options);
    if (!goes_on) chat.text += sample.answer;
    return encode_rendered(tokenizer, chat);
  }
  if (!goes_on) messages.push_back({"assistant", sample.answer});
  std::vector<int64_t> ids =
      encode_chat(tokenizer, messages, /*add_generation_prompt=*/false, sample.options);
  end_conversation(ending, tokenizer, ids);
  return ids;
}

void cut_to_context(const DecoderConfig& config, std::vector<int64_t>& ids) {
  ids.resize(std::min(ids.size(), static_cast<size_t>(config.max_positions)));
}

}  // namespace leash

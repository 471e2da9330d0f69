#include "rl/preference/answers.h"

#include "rl/statistics/statistics.h"
#include "rollout/engine.h"
#include "rollout/scoring.h"
#include "rollout/stopping.h"

namespace leash {

std::vector<SampleRecord> answer_prompts(const PolicyBesideReference& policy,
                                         const std::vector<HeldOutPrompt>& asked, int64_t step,
                                         int64_t micro_batch_tokens) {
  const auto& [model, reference] = policy;
  std::vector<Prompt> prompts;
  for (const HeldOutPrompt& prompt : asked) {
    prompts.push_back({.ids = prompt.ids, .sample = static_cast<uint64_t>(prompt.index)});
  }
  if (prompts.empty()) return {};
  GenerationConfig config;
  config.sampling.temperature = 0.0;
  config.eos_token_ids = eos_token_ids(model.decoder->config(), model.tokenizer);
  const auto answers =
      RolloutEngine(model.decoder, model.tokenizer).generate(prompts, &model.adapter, config);
  std::vector<ScoredText> texts;
  for (const Completion& answer : answers) {
    ScoredText text{.ids = answer.prompt_ids, .answer_begin = std::ssize(answer.prompt_ids)};
    text.ids.insert(text.ids.end(), answer.token_ids.begin(), answer.token_ids.end());
    texts.push_back(std::move(text));
  }
  const auto kl = exact_kl_texts(*model.decoder, &model.adapter, *reference.decoder,
                                 reference.adapter_or_none(), texts,
                                 {.micro_batch_tokens = micro_batch_tokens});
  std::vector<SampleRecord> records;
  for (size_t i = 0; i < answers.size(); ++i) {
    records.push_back({.step = step,
                       .index = asked[i].index,
                       .decoding = "greedy",
                       .prompt = asked[i].text,
                       .answer = answers[i].text,
                       .kl = sum(kl[i]),
                       .stop = std::string(enum_name(answers[i].stop))});
  }
  return records;
}

}  // namespace leash

#include "rl/sft/answers.h"

#include "rollout/engine.h"
#include "rollout/stopping.h"

namespace leash {

std::vector<SampleRecord> answer_held_out(const SftModel& model,
                                          const std::vector<SftSample>& samples, int64_t count,
                                          int64_t step) {
  std::vector<Prompt> prompts;
  std::vector<SampleRecord> records;
  for (size_t i = 0; i < samples.size() && static_cast<int64_t>(prompts.size()) < count; ++i) {
    const SftSample& sample = samples[i];
    if (sample.prompt_tokens == 0) continue;
    prompts.push_back({.ids = {sample.ids.begin(), sample.ids.begin() + sample.prompt_tokens},
                       .sample = sample.id});
    records.push_back({.step = step,
                       .index = static_cast<int64_t>(i),
                       .decoding = "greedy",
                       .prompt = sample.prompt});
  }
  if (prompts.empty()) return records;
  GenerationConfig config;
  config.sampling.temperature = 0.0;
  config.eos_token_ids = eos_token_ids(model.decoder->config(), model.tokenizer);
  const RolloutEngine engine(model.decoder, model.tokenizer);
  const auto answers = engine.generate(prompts, &model.adapter, config);
  for (size_t i = 0; i < answers.size(); ++i) {
    records[i].answer = answers[i].text;
    records[i].stop = std::string(enum_name(answers[i].stop));
  }
  return records;
}

}  // namespace leash

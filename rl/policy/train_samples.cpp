#include "rl/policy/train_samples.h"

#include <ATen/TensorOperators.h>

#include <algorithm>

#include "rl/policy/advantages.h"

namespace leash {

std::vector<SampleRecord> train_samples(const Experience& experience,
                                        const std::vector<PromptRecord>& prompts,
                                        const std::vector<std::string>& labels, int64_t step,
                                        int64_t most) {
  const bool asked = experience.reference_logprobs.defined() || experience.exact_kl.defined();
  std::vector<SampleRecord> records;
  for (int64_t row = 0; row < std::min(experience.batch(), most); ++row) {
    const auto at = static_cast<size_t>(row);
    const Completion& answer = experience.answers[at];
    const int64_t prompt = experience.prompts[at];
    const at::Tensor mask = experience.mask[row];
    SampleRecord record{.step = step,
                        .index = prompt,
                        .decoding = "sampled",
                        .split = "train",
                        .prompt = prompts[static_cast<size_t>(prompt)].display,
                        .answer = answer.text,
                        .score = experience.scores[row].item<double>(),
                        .stop = std::string(enum_name(answer.stop))};
    for (size_t i = 0; i < labels.size() && experience.source_scores.defined(); ++i) {
      record.scores.emplace_back(
          labels[i], experience.source_scores[row][static_cast<int64_t>(i)].item<double>());
    }
    if (asked) record.kl = experience.kl[row].masked_select(mask).sum().item<double>();
    record.advantage = masked_mean(experience.advantages[row], mask).item<double>();
    records.push_back(std::move(record));
  }
  return records;
}

}  // namespace leash

// What it gives that answers to one prompt share it in the update: passes of whole texts and of
// groups in turn, so that their ratio does not depend on what else the machine does.
#include <torch/csrc/autograd/autograd.h>

#include "experiments/bench/harness.h"
#include "models/decoder/packed_texts.h"

namespace leash::bench {
namespace {

constexpr int64_t kGroup = 8, kPromptTokens = 200, kAnswerTokens = 64;

std::vector<std::vector<int64_t>> group_texts(uint64_t seed) {
  const auto prompt = random_ids(1, kPromptTokens, seed)[0];
  std::vector<std::vector<int64_t>> texts;
  for (const auto& answer : random_ids(kGroup, kAnswerTokens, seed + 1)) {
    texts.push_back(prompt);
    texts.back().insert(texts.back().end(), answer.begin(), answer.end());
  }
  return texts;
}

// Forward and backward over the answers' log-probs, as an update has them.
double pass_seconds(const Decoder& decoder, const Adapter& adapter, const PackedAnswers& answers) {
  for (at::Tensor leaf : adapter.parameters()) leaf.mutable_grad().reset();
  Stopwatch clock;
  const at::Tensor hidden = decoder.forward(answers.contexts.tokens, adapter);
  const at::Tensor states = hidden.index_select(0, answers.rows.to(hidden.device()));
  const auto scores = decoder.token_scores(states, answers.targets, 1.0, adapter);
  torch::autograd::backward({scores.logprobs.mean()}, {});
  return clock.lap();
}

}  // namespace

std::vector<Row> run_groups(const Options& options) {
  const auto decoder = load_decoder(options);
  const Adapter adapter = bench_adapter(*decoder);
  std::vector<double> whole, shared, ratios;
  for (int64_t run = 0; run <= options.repeats; ++run) {
    const auto texts = group_texts(static_cast<uint64_t>(10 * run));
    std::vector<AnswerText> answers;
    for (const auto& text : texts) answers.push_back({.ids = text, .answer_begin = kPromptTokens});
    const std::vector<TextGroup> apart(kGroup, TextGroup{.num_texts = 1});
    const double each = pass_seconds(*decoder, adapter, pack_answers(answers, apart));
    const double together = pass_seconds(*decoder, adapter, pack_by_prompt(answers));
    if (run == 0) continue;
    whole.push_back(each);
    shared.push_back(together);
    ratios.push_back(each / together);
  }
  return {{"groups-8x200+64-whole", median(whole), "s"},
          {"groups-8x200+64-shared", median(shared), "s"},
          {"groups-8x200+64-speedup", median(ratios), "ratio"}};
}

}  // namespace leash::bench

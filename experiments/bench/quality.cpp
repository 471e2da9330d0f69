// What quantised weights do to a model's answers.
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>

#include "experiments/bench/harness.h"
#include "models/io/checkpoint.h"
#include "rl/data/prompts.h"

namespace leash::bench {

std::vector<Row> run_quality(const Options& options) {
  constexpr const char* kTexts = "configs/recipes/data/everyday_prompts.held_out.jsonl";
  const std::string baseline = options.baseline.empty() ? options.model : options.baseline;
  const Checkpoint checkpoint = open_checkpoint(resolve_model(baseline));
  const auto dense = Decoder::load(checkpoint, at::kFloat);
  const auto decoder = load_decoder(options);
  const auto texts = read_prompts(kTexts, Tokenizer::load(checkpoint.path),
                                  {.context = dense->config().max_positions});
  const c10::AutoGradMode no_grad(false);
  double kl = 0, largest = 0, tokens = 0, agreed = 0;
  for (const PromptRecord& text : texts) {
    const at::Tensor right = dense->forward(pack_one(text.ids));
    const at::Tensor ours = decoder->forward(pack_one(text.ids));
    const at::Tensor right_logits = dense->logits(right), logits = decoder->logits(ours);
    kl += dense->exact_kl(right, nullptr, *decoder, ours, nullptr).sum().item<double>();
    largest = std::max(largest, logits.sub(right_logits).abs().max().item<double>());
    agreed +=
        static_cast<double>(logits.argmax(-1).eq(right_logits.argmax(-1)).sum().item<int64_t>());
    tokens += static_cast<double>(text.ids.size());
  }
  return {{"quality-bytes", static_cast<double>(decoder->weight_bytes()), "bytes"},
          {"quality-kl", kl / tokens, "nats/token"},
          {"quality-largest-logit", largest, "logit"},
          {"quality-same-best", agreed / tokens, "ratio"}};
}

}  // namespace leash::bench

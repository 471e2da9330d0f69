#include "rl/classification/update.h"

#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <utility>

#include "models/decoder/score_head.h"
#include "models/device/device.h"
#include "models/weights/gather_queue.h"
#include "rl/classification/loss.h"
#include "rl/distributed/gradient_sums.h"
#include "rl/distributed/shares.h"
#include "rollout/scoring.h"

namespace leash {
namespace {

std::vector<int64_t> lengths_of(TextRefs texts) {
  std::vector<int64_t> lengths;
  for (const LabelledText* text : texts) lengths.push_back(static_cast<int64_t>(text->ids.size()));
  return lengths;
}

// This rank's share, by the rows that go through the decoder.
std::vector<const LabelledText*> own_texts(TextRefs texts, const Communicator& communicator) {
  std::vector<const LabelledText*> own;
  for (const int64_t index : own_share(lengths_of(texts), communicator)) {
    own.push_back(texts[index]);
  }
  return own;
}

at::Tensor logits_of(TextRefs texts, const Decoder& decoder, const Adapter& adapter,
                     const ForwardOptions& options = {}) {
  std::vector<std::vector<int64_t>> sequences;
  for (const LabelledText* text : texts) sequences.push_back(text->ids);
  return class_logits(sequences, decoder, adapter, options);
}

// The keys of their draws.
std::vector<uint64_t> ids_of(TextRefs texts) {
  std::vector<uint64_t> ids;
  for (const LabelledText* text : texts) ids.push_back(text->id);
  return ids;
}

at::Tensor labels_of(TextRefs texts) {
  std::vector<int64_t> labels;
  for (const LabelledText* text : texts) labels.push_back(text->label);
  return at::tensor(labels, at::kLong);
}

ClassificationSums run_micro_batch(TextRefs texts, double normalizer, double label_smoothing,
                                   const Decoder& decoder, const Adapter& adapter,
                                   const ForwardOptions& options) {
  const at::Tensor logits = logits_of(texts, decoder, adapter, options);
  const at::Tensor labels = on_device(labels_of(texts), logits.device());
  const at::Tensor loss = classification_loss(logits, labels, label_smoothing, normalizer);
  torch::autograd::backward({loss}, {});
  ClassificationSums sums{.loss = loss.item<double>(),
                          .texts = static_cast<int64_t>(texts.size()),
                          .correct = logits.detach().argmax(1).eq(labels).sum().item<int64_t>()};
  for (const int64_t length : lengths_of(texts)) sums.rows += length;
  return sums;
}

}  // namespace

std::vector<const LabelledText*> text_refs(const std::vector<LabelledText>& texts) {
  std::vector<const LabelledText*> refs;
  for (const LabelledText& text : texts) refs.push_back(&text);
  return refs;
}

at::Tensor class_logits(std::span<const std::vector<int64_t>> sequences, const Decoder& decoder,
                        const Adapter& adapter, const ForwardOptions& options) {
  const PackedTokens packed = pack(sequences);
  std::vector<int64_t> last_rows;
  int64_t row = 0;
  for (const int64_t length : packed.lengths) {
    row += length;
    last_rows.push_back(row - 1);
  }
  const at::Tensor hidden = decoder.forward(packed, adapter, options);
  const at::Tensor rows = on_device(at::tensor(last_rows, at::kLong), hidden.device());
  return score_head(adapter)(hidden.index_select(0, rows));
}

void ClassificationSums::add(const ClassificationSums& other) {
  loss += other.loss;
  texts += other.texts;
  correct += other.correct;
  rows += other.rows;
}

ClassificationSums accumulate_gradients(TextRefs all, int64_t step,
                                        const ClassificationSetup& setup,
                                        const AdaptedDecoder& model, Communicator& communicator,
                                        double loss_scale) {
  const std::vector<const LabelledText*> own = own_texts(all, communicator);
  const TextRefs texts = own;
  const auto normalizer = static_cast<double>(all.size());
  const bool drops = model.adapter.config().lora_dropout > 0;
  const ClassificationConfig& config = setup.classification;
  GradientSums gradients(communicator, model.adapter.parameters());
  GatherScope scope(communicator.gathers().get(), GatherQueue::Keep::next);
  ClassificationSums sums;
  for (const auto& [begin, end] : micro_batches(lengths_of(texts), config.micro_batch_tokens)) {
    const TextRefs part = texts.subspan(begin, end - begin);
    const DropoutKey dropout{.seed = static_cast<uint64_t>(setup.run.seed),
                             .step = static_cast<uint64_t>(step),
                             .samples = ids_of(part)};
    const ForwardOptions options{.dropout = drops ? &dropout : nullptr,
                                 .recompute_blocks = setup.model.gradient_checkpointing};
    if (end == std::ssize(texts)) gradients.next_backward_is_last();
    sums.add(run_micro_batch(part, normalizer / loss_scale, config.label_smoothing_factor,
                             model.decoder, model.adapter, options));
  }
  scope.finish();
  ClassificationSums total = gradients.finish(sums);
  total.loss /= loss_scale;
  return total;
}

std::vector<ClassifiedText> held_out_classes(TextRefs all, int64_t micro_batch_tokens,
                                             const AdaptedDecoder& model,
                                             Communicator& communicator) {
  const c10::AutoGradMode no_grad(false);
  const std::vector<const LabelledText*> own = own_texts(all, communicator);
  const TextRefs texts = own;
  GatherScope scope(communicator.gathers().get(), GatherQueue::Keep::next);
  std::vector<ClassifiedText> classified;
  for (const auto& [begin, end] : micro_batches(lengths_of(texts), micro_batch_tokens)) {
    const TextRefs part = texts.subspan(begin, end - begin);
    const at::Tensor log_probs = at::log_softmax(
        logits_of(part, model.decoder, model.adapter).to(at::kCPU, at::kDouble), -1);
    // [texts, classes]
    const at::Tensor predicted = log_probs.argmax(1);
    for (size_t i = 0; i < part.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      const int64_t likeliest = predicted[row].item<int64_t>();
      classified.push_back({.label = part[i]->label,
                            .predicted = likeliest,
                            .nll = -log_probs[row][part[i]->label].item<double>(),
                            .confidence = std::exp(log_probs[row][likeliest].item<double>())});
    }
  }
  scope.finish();
  return gather_shares<ClassifiedText>(lengths_of(all), classified, communicator);
}

}  // namespace leash

// The arithmetic of a step of training a classifier: logits of texts, gradients of one batch in
// micro-batches, and the predictions of held-out texts.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "models/decoder/decoder.h"
#include "rl/classification/config.h"
#include "rl/data/labelled_texts.h"
#include "rl/distributed/communicator.h"
#include "rl/training/parts.h"

namespace leash {

using TextRefs = std::span<const LabelledText* const>;
std::vector<const LabelledText*> text_refs(const std::vector<LabelledText>& texts);

// Scores of each sequence's classes, read at its last token, as transformers pools them.
// Differentiable in the adapter. [sequences, classes], fp32 or wider
at::Tensor class_logits(std::span<const std::vector<int64_t>> sequences, const Decoder& decoder,
                        const Adapter& adapter, const ForwardOptions& options = {});

// Sums over texts.
struct ClassificationSums {
  double loss = 0;  // already divided by the texts of the whole batch; label smoothing included
  int64_t texts = 0;
  int64_t correct = 0;  // texts whose class was the likeliest
  int64_t rows = 0;     // tokens that went through the decoder

  void add(const ClassificationSums& other);
};

// Gradients of one optimizer step's texts in micro-batches, as .grad of the adapter's parameters
// (which have none before). The ranks split the texts by length; the loss is the mean over all of
// them. Dropout is keyed by (seed, step, text). Gradients are those of `loss_scale` times the loss,
// which float16 needs (rl/optim/grad_scaler.h); the sums are without it.
ClassificationSums accumulate_gradients(TextRefs texts, int64_t step,
                                        const ClassificationSetup& setup,
                                        const AdaptedDecoder& model, Communicator& communicator,
                                        double loss_scale = 1.0);

// One text as the model sees it.
struct ClassifiedText {
  int64_t label = 0;
  int64_t predicted = 0;  // the likeliest class
  double nll = 0;         // -log p(label), nats
  double confidence = 0;  // p(predicted)

  bool operator==(const ClassifiedText&) const = default;
};

// No dropout, no gradients; split likewise, and every rank gets all of them.
std::vector<ClassifiedText> held_out_classes(TextRefs texts, int64_t micro_batch_tokens,
                                             const AdaptedDecoder& model,
                                             Communicator& communicator);

}  // namespace leash

// The loss of a text classifier: a pure function.
#pragma once

#include <ATen/core/Tensor.h>

namespace leash {

// Σ_texts [-(1 - ε) log p(label) - ε mean_classes log p] / normalizer, with p = softmax(logits) and
// ε = label_smoothing: the cross-entropy of transformers' *ForSequenceClassification, smoothed as
// its Trainer's LabelSmoother does (Szegedy et al. 2016, section 7). A scalar of the logits' type,
// differentiable in them.
at::Tensor classification_loss(const at::Tensor& logits /* [texts, classes] */,
                               const at::Tensor& labels /* [texts] int64 */, double label_smoothing,
                               double normalizer);

}  // namespace leash

#include "rl/classification/loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/log_softmax.h>

namespace leash {

at::Tensor classification_loss(const at::Tensor& logits, const at::Tensor& labels,
                               double label_smoothing, double normalizer) {
  TORCH_CHECK(logits.dim() == 2 && labels.dim() == 1 && logits.size(0) == labels.size(0),
              "classification_loss: logits are [texts, classes], labels [texts]");
  TORCH_CHECK(normalizer > 0, "a batch without texts has no loss");
  const at::Tensor log_probs = at::log_softmax(logits, -1);
  at::Tensor losses = -log_probs.gather(1, labels.unsqueeze(1)).squeeze(1);
  if (label_smoothing > 0) {
    losses = losses * (1.0 - label_smoothing) - log_probs.mean(1) * label_smoothing;
  }
  return losses.sum() / normalizer;
}

}  // namespace leash

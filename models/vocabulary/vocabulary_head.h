// The projection onto the vocabulary, and what a family does to its logits.
#pragma once

#include "models/lora/adapted_linear.h"

namespace leash {

// logits = cap · tanh(scale · (h Wᵀ + bias) / cap)
struct VocabularyHead : LinearGroup {
  double scale = 1.0;
  double softcap = 0.0;  // cap; 0: none
};

}  // namespace leash

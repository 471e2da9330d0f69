// A checkpoint with an adapter merged into it: in fp32, tensor by tensor as it is read, into
// copies.
#pragma once

#include <cstdint>

#include "models/io/checkpoint.h"
#include "models/lora/lora.h"

namespace leash {

// What the base computes with the adapter, as a checkpoint of its own: W + s B A, trained copies in
// place of weights and biases. Where embedding and head share a weight and the adapter changes one
// of them, they are two tensors afterwards. An adapter with a score head makes a
// sequence-classification checkpoint, which has no head of the vocabulary. Tensors are read from
// the base when they are asked for.
Checkpoint merged_checkpoint(const Checkpoint& base, const Adapter& adapter);

}  // namespace leash

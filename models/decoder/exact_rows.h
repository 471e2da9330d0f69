// Where sampling and training agree bit for bit.
#pragma once

#include <ATen/core/Tensor.h>

#include "models/families/decoder_config.h"

namespace leash {

// Whether a row's hidden states, logits and log-probs are the same bits whatever else is in the
// batch: with or without a cache, behind a prefix that is shared or its own, for any number of
// rows, order and threads. It holds where everything that mixes numbers is our own kernel
// (products, attention, norms, softmax): float32 and bfloat16, quantised bases included, on a CPU
// with AVX-512, for heads of whole registers and no attention but what those kernels know.
bool rows_are_exact(const DecoderConfig& model, at::ScalarType weights, at::Device device);

// The same of this machine, for models that fit.
bool machine_has_exact_rows();

}  // namespace leash

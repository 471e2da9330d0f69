// The activation between the projections of a feed-forward block, gated (Shazeer 2020, "GLU
// Variants Improve Transformer") or plain.
#pragma once

#include <ATen/core/Tensor.h>

#include "models/families/decoder_config.h"

namespace leash {

// activation(gate) * up, gate and up being the halves of the fused projection [rows, 2 n]. Fused
// for silu in fp32; otherwise the plain version.
at::Tensor gated_activation(const at::Tensor& gate_up, Activation activation);
at::Tensor gated_activation_plain(const at::Tensor& gate_up, Activation activation);

// activation(x), differentiable. In fp32 on a CPU a row [rows, n] does not depend on the others.
at::Tensor activated(const at::Tensor& x, Activation activation);

}  // namespace leash

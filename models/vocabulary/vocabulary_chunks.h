// Chunks of rows for the projection onto the vocabulary. Internal to models/*.cpp (it includes
// LibTorch's autograd headers).
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/variable.h>

#include <cstdint>

#include "models/lora/adapter_rows.h"
#include "models/vocabulary/vocabulary_head.h"

namespace leash {

// Rows whose logits are held at a time: about 32 MB in fp32.
int64_t chunk_rows(const LinearGroup& head);

// The part of `adapters` that covers rows [begin, begin + count).
AdapterRows slice_rows(const AdapterRows& adapters, int64_t begin, int64_t count);

// [rows, vocab] in fp32 or wider, scaled and capped as the head says; differentiable. Whoever takes
// their gradient may overwrite them: nothing keeps them for a backward pass.
at::Tensor wide_logits(const at::Tensor& hidden, const VocabularyHead& head,
                       const AdapterRows& adapters);

// Whether the fused kernels take these logits.
bool use_kernel(const at::Tensor& logits);

// What a head's adapter trains, gathered so that gradients reach it: weights of LoRA or copies of
// the head.
torch::autograd::variable_list trained_by_head(const LinearGroup& head,
                                               const AdapterRows& adapters);

}  // namespace leash

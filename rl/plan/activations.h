// What passes through the decoder need besides the weights, as models/decoder/decoder.cpp and the
// layers below it allocate it. Bytes; tensors of a few numbers are left out.
#pragma once

#include <cstdint>

#include "rl/plan/model_facts.h"
#include "rl/plan/trained_facts.h"

namespace leash {

struct PassShape {
  int64_t rows = 0;        // tokens of the packed batch
  bool recompute = false;  // gradient checkpointing
  bool dropout = false;
};

// Rows of the head's logits that are held at a time: chunk_rows of
// models/vocabulary/vocabulary_chunks.
int64_t logits_chunk_rows(int64_t vocabulary);

// What autograd keeps of a forward pass until the backward pass reads it: nothing below the first
// module that trains; with recomputation the input of each block alone. `adapter` nullptr: 0.
int64_t kept_bytes(const ModelFacts& model, at::ScalarType dtype, const AdapterFacts* adapter,
                   const PassShape& pass);

// Most that the backward pass adds while everything is still kept: gradients inside the last block
// and, with recomputation, what that block keeps.
int64_t backward_scratch_bytes(const ModelFacts& model, at::ScalarType dtype,
                               const AdapterFacts* adapter, const PassShape& pass);

// Most that a forward pass without gradients holds at a time: inside a block, at its MLP.
int64_t forward_scratch_bytes(const ModelFacts& model, at::ScalarType dtype, int64_t rows);

// Log-probs or losses of `predicting` of `rows` rows: the states, their gradient, a chunk of
// logits.
int64_t head_scratch_bytes(const ModelFacts& model, at::ScalarType dtype, int64_t rows,
                           int64_t predicting, bool gradients);

// Keys and values of `slots` sequences of `capacity` tokens: KvCache::bytes().
int64_t cache_bytes(const ModelFacts& model, at::ScalarType dtype, int64_t slots, int64_t capacity);

}  // namespace leash

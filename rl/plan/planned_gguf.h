// A model known by its facts alone, as the blocks of a GGUF that nobody has to have.
#pragma once

#include <optional>

#include "rl/plan/model_facts.h"

namespace leash {

// `model` with a TensorSource that says shapes and block types as llama.cpp's quantiser gives them
// with Q4_K_M (src/llama-quant.cpp: Q6_K for the head and for more bits in some layers' values and
// ways down, Q5_K for a fused projection; rows of no whole blocks of 256 take the next kind of 32),
// so that model.quantize `keep` can be planned. Reading a tensor of it throws. nullopt for a family
// that GGUF has no architecture for.
std::optional<ModelFacts> with_q4_k_m(const ModelFacts& model);

}  // namespace leash

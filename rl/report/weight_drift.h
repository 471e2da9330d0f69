// Where in the network an adapter changes the base, from its factors alone: ΔW = s·B·A is never
// built.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/lora/lora.h"

namespace leash {

struct WeightDrift {
  std::string module;  // "model.layers.3.self_attn.q_proj"
  int64_t layer = -1;  // -1: outside of all blocks
  int64_t rank = 0;    // of the update; 0: the module trained whole
  double delta = 0;    // Frobenius norm of ΔW
  double base = 0;     // of W
  double largest = 0;  // singular value of ΔW
  // exp of the entropy of the singular values as shares (Roy and Vetterli 2007); 0 where ΔW is 0 or
  // trained whole.
  double effective_rank = 0;

  double relative() const { return base == 0 ? 0 : delta / base; }
};

// What an update's singular values say.
struct LoraSpectrum {
  double norm = 0;  // Frobenius
  double largest = 0;
  double effective_rank = 0;
};
LoraSpectrum lora_spectrum(const LoraWeights& lora);

// Of every module that the adapter changes, in the order of the network. With B A = ΔW/s, its
// singular values are the roots of the eigenvalues of S BᵀB S, where S is the symmetric root of
// A Aᵀ: matrices of the rank's size.
std::vector<WeightDrift> weight_drift(const Decoder& decoder, const Adapter& adapter);

// All layers that the adapter changes, ascending.
std::vector<int64_t> adapted_layers(const Adapter& adapter);

// The adapter without its updates of one layer: B is 0 there, copies are the base's.
Adapter without_layer(const Decoder& decoder, const Adapter& adapter, int64_t layer);

}  // namespace leash

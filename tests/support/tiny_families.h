// Small random models of all shapes that families have, in memory alone.
#pragma once

#include <string>
#include <vector>

#include "models/io/checkpoint.h"

namespace leash::testing {

struct TinyFamily {
  std::string name;
  Checkpoint checkpoint;
};

// One for each shape of a decoder: fused and grouped projections, norms of both kinds in all
// places, learned positions and ALiBi, plain MLPs, scales and caps.
std::vector<TinyFamily> tiny_families();

// Random weights for every module of `config`.
Checkpoint random_checkpoint(const DecoderConfig& config, uint64_t seed = 7);

}  // namespace leash::testing

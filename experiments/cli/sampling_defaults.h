// How tokens are drawn where the user says nothing: as the checkpoint's authors advise.
#pragma once

#include <string>

#include "models/io/checkpoint.h"
#include "rollout/sampling.h"

namespace leash::cli {

// The checkpoint's generation_config.json, where it has one that samples (do_sample is not false)
// and says something about it: temperature, top_k, top_p, min_p, repetition_penalty. What it does
// not say is off. Else `otherwise`. FormatError.
SamplingConfig sampling_defaults(const Checkpoint& checkpoint, const SamplingConfig& otherwise);

// "temperature 0.7, top-p 0.9": all that is in effect.
std::string sampling_text(const SamplingConfig& config);

}  // namespace leash::cli

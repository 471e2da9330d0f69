// A few words that tell a base from others, whatever file it comes in.
#pragma once

#include <string>

#include "models/io/checkpoint.h"

namespace leash {

// Of what survives conversion and quantisation: the sizes of the architecture, and every norm's
// weights rounded to bf16. The same for a Hugging Face folder in float32 or bfloat16 and for a GGUF
// made of it. Models that differ in other weights alone (made by a short training that moved no
// norm by a bf16 step, or with norms that are all ones) are not told apart.
std::string base_fingerprint(const Checkpoint& checkpoint);

}  // namespace leash

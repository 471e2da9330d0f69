// A decoder's facts as a GGUF's metadata, under the keys of llama.cpp's converter.
#pragma once

#include "models/families/decoder_config.h"
#include "models/io/gguf_architecture.h"
#include "models/io/gguf_writer.h"

namespace leash {

// Sets the keys of the architecture and the tensors that stand for facts (Llama 3's divisors of
// frequencies). That they say all facts is for the caller to find out by reading the file
// (different_fact in models/export/hf_config.h).
void set_gguf_facts(const DecoderConfig& config, const GgufArchitecture& architecture,
                    GgufWriter& writer);

}  // namespace leash

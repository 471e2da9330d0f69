// A GGUF's metadata mapped to DecoderConfig.
#pragma once

#include "models/families/decoder_config.h"
#include "models/io/gguf.h"
#include "models/io/gguf_architecture.h"

namespace leash {

// The row of the file's architecture; FormatError when the file is of another kind than a language
// model of a known one.
const GgufArchitecture& architecture_of(const GgufFile& file);

// FormatError when something is missing or wrong, or when there is metadata that may change the
// computation and is not supported.
DecoderConfig config_from_gguf(const GgufFile& file);

}  // namespace leash

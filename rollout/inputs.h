// Token ids come from files and from people: checked before a decoder sees them.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "models/families/decoder_config.h"

namespace leash {

// FormatError, naming `what`, when ids are empty, longer than the context, or not in the
// vocabulary.
void check_ids(std::span<const int64_t> ids, const DecoderConfig& config, const std::string& what);

}  // namespace leash

// What a decoder of given facts consists of, without a checkpoint.
#pragma once

#include <vector>

#include "models/families/decoder_config.h"
#include "models/families/module_info.h"

namespace leash {

// Decoder::modules() of a decoder with these facts, in the same order.
std::vector<ModuleInfo> decoder_modules(const DecoderConfig& config);

}  // namespace leash

// Where an adapter's training starts.
#pragma once

#include <cstdint>

#include "models/decoder/decoder.h"

namespace leash {

// A new adapter over `decoder`, of the decoder's type where that is float64 (tests).
Adapter fresh_adapter(const LoraConfig& config, const Decoder& decoder, uint64_t seed);

// What `lora:` says: the adapter of lora.path, or a fresh one; trainable.
Adapter start_adapter(const LoraConfig& config, const Decoder& decoder, uint64_t seed);

// Says once, as PEFT does, where an adapter changes one of two modules that share their weight.
void say_if_tied(const Adapter& adapter, const Decoder& decoder);

}  // namespace leash

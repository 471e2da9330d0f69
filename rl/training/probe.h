// Whether a trained adapter still makes a model.
#pragma once

#include <cstdint>

#include "models/decoder/decoder.h"
#include "models/weights/gather_queue.h"

namespace leash {

// A forward pass of a short text: NonFinite where a state that comes out is not finite, or all
// zeros, which is what the final norm makes of states whose squares overflow. All ranks call it;
// `gathers` as the decoder's.
void require_usable(const Decoder& decoder, const Adapter& adapter, GatherQueue* gathers,
                    int64_t step);

}  // namespace leash

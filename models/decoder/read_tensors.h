// Which tensors of a checkpoint a decoder reads, by their names alone.
#pragma once

#include "models/io/checkpoint.h"

namespace leash {

// FormatError naming tensors that nothing reads: the configuration does not say all that the model
// is made of, and what is left out would change every number. What the family leaves out, since it
// changes none, is said once (models/notices.h). `score.weight` is read by whoever scores.
void require_all_read(const Checkpoint& checkpoint);

}  // namespace leash

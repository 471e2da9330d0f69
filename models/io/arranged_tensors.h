// A folder's tensors under the names, and in the orientation, that the decoder knows them by.
#pragma once

#include <memory>

#include "models/families/decoder_config.h"
#include "models/weights/tensor_source.h"

namespace leash {

// `file` as decoder_modules(config) names it: files of a base model alone (without the first word
// of every name), heads and trunks under older names; weights that a file keeps as [in, out] come
// as [out, in]. Names that belong to no module stay as they are.
std::shared_ptr<const TensorSource> arranged(std::shared_ptr<const TensorSource> file,
                                             const DecoderConfig& config);

}  // namespace leash

// Public architectures by their facts, smallest first: what "the largest model that fits" is
// looked for among.
#pragma once

#include <string>
#include <vector>

#include "models/families/decoder_config.h"

namespace leash {

struct KnownModel {
  std::string name;
  DecoderConfig config;
};

const std::vector<KnownModel>& known_models();

}  // namespace leash

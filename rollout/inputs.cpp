// The checks of token ids, once.
#include "rollout/inputs.h"

#include <fmt/format.h>

#include "models/errors.h"

namespace leash {

void check_ids(std::span<const int64_t> ids, const DecoderConfig& config, const std::string& what) {
  if (ids.empty()) throw FormatError(what + " has no tokens");
  if (static_cast<int64_t>(ids.size()) > config.max_positions) {
    throw FormatError(fmt::format("{} has {} tokens, but the model's context is {}: shorten it",
                                  what, ids.size(), config.max_positions));
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < config.vocab_size) continue;
    throw FormatError(fmt::format("{}: token {} is {}, but the model's vocabulary has {}", what, i,
                                  ids[i], config.vocab_size));
  }
}

}  // namespace leash
